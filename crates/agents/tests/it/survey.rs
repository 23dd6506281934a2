//! What is found on a machine: agents and skills.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use co_agents::skills::{Skill, SkillRequest, SkillSource, discover};
use co_agents::survey::survey;
use co_testkit::{CodexHome, INSTALL_HINT, Repository, codex_program};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::real_codex::path;

fn program(directory: &Path, name: &str) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, "\x7fELF").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn each_agent_is_looked_for_and_its_version_compared() {
    let machine = TempDir::new().unwrap();
    let codex = program(machine.path(), "codex");
    let look = |printed: Option<&str>, path: &Path| {
        let environment = |name: &str| (name == "PATH").then(|| OsString::from(path));
        let found = survey(Path::new("/"), &environment, &|_| None, |program, arguments| {
            assert_eq!((program, arguments), (codex.as_path(), ["--version"].as_slice()));
            printed.map(str::to_owned)
        });
        found.into_iter().find(|found| found.agent == "codex-app-server").unwrap()
    };
    let found = look(Some("codex-cli 0.169.3\n"), machine.path());
    assert_eq!((found.version.as_deref(), found.is_tested), (Some("0.169.3"), true));
    assert!(found.warnings.is_empty() && found.abilities.approvals && found.abilities.steer);
    assert_eq!(found.program.as_deref(), Some(codex.as_path()));
    let found = look(Some("codex-cli 9.0.0\n"), machine.path());
    assert_eq!(found.warnings, ["version 9.0.0 was not tested; tested: 0.169"]);
    let found = look(None, machine.path());
    assert_eq!(found.warnings, ["its version could not be read"]);
    let found = look(None, Path::new("/nowhere"));
    assert!(found.program.is_none() && found.warnings[0].contains("npm install"), "{found:?}");
}

#[test]
fn the_real_codex_is_of_a_tested_version() {
    let given = |name: &str| name.starts_with("codex").then(|| codex_program().expect(INSTALL_HINT));
    #[expect(clippy::disallowed_methods, reason = "a test waits for one short command")]
    let run = |program: &Path, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok()?;
        String::from_utf8(output.stdout).ok()
    };
    let found = survey(Path::new("/"), &|_| Some(path()), &given, run);
    let codex: Vec<_> = found.iter().filter(|found| found.agent.starts_with("codex")).collect();
    assert_eq!(codex.len(), 2);
    assert!(codex.iter().all(|found| found.is_tested && found.warnings.is_empty()), "{codex:?}");
}

/// Is a skill as Codex lists it: scope, name, description and path.
type Listed = (String, String, String, String);

/// Asks the real Codex for the skills in `cwd`, and for the files that it refuses.
#[expect(clippy::disallowed_methods, reason = "a test speaks with one short-lived server")]
fn real_skills(home: &CodexHome, cwd: &Path) -> (Vec<Listed>, Vec<String>) {
    let mut server = Command::new(codex_program().expect(INSTALL_HINT))
        .arg("app-server")
        .current_dir(cwd)
        .env_clear()
        .envs(home.environment(path()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = server.stdin.take().unwrap();
    let client = json!({"clientInfo": {"name": "test", "version": "1"}});
    let messages = [
        json!({"id": 1, "method": "initialize", "params": client}),
        json!({"method": "initialized"}),
        json!({"id": 2, "method": "skills/list", "params": {"cwds": [cwd]}}),
    ];
    for message in messages {
        writeln!(stdin, "{message}").unwrap();
    }
    let lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let answers = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let answer = answers.into_iter().find(|answer| answer["id"] == 2).unwrap();
    drop(stdin);
    server.wait().unwrap();
    let data = &answer["result"]["data"][0];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let skills = data["skills"].as_array().unwrap().iter().map(|skill| {
        (text(&skill["scope"]), text(&skill["name"]), text(&skill["description"]), text(&skill["path"]))
    });
    let errors = data["errors"].as_array().unwrap().iter().map(|error| text(&error["path"]));
    let (mut skills, mut errors): (Vec<_>, Vec<_>) = (skills.collect(), errors.collect());
    skills.sort();
    errors.sort();
    (skills, errors)
}

#[test]
fn the_skills_are_those_that_the_real_codex_finds() {
    let home = CodexHome::new("http://127.0.0.1:9/v1");
    let repository = Repository::with_files(&[("a/b/file", "")]);
    let root = repository.root().canonicalize().unwrap();
    let codex = home.codex_home().canonicalize().unwrap().join("skills");
    let person = home.home().canonicalize().unwrap().join(".agents/skills");
    let write = |directory: PathBuf, text: &str| {
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("SKILL.md"), text).unwrap();
    };
    let plain = |name: &str| format!("---\nname: {name}\ndescription: About {name}.\n---\nbody\n");
    write(root.join(".agents/skills/one"), &plain("one"));
    write(root.join(".codex/skills/two"), &plain("two"));
    write(root.join("a/.codex/skills/three"), &plain("three"));
    write(root.join("a/b/.agents/skills/x/y"), "---\ndescription: \"Quoted: \\\"yes\\\"\"\n---\n");
    write(root.join("a/.agents/skills/.hidden"), &plain("hidden"));
    write(root.join("c/.agents/skills/aside"), &plain("aside"));
    write(person.join("person"), "---\r\nname: person\r\ndescription: >-\r\n  folded\r\n  text\r\n---\r\n");
    write(codex.join("again"), &plain("one"));
    write(codex.join("block"), "---\nname: block # comment\ndescription: |\n  first\n  second\n---\n");
    write(codex.join("continued"), "---\nname: 'it''s'\ndescription: first\n  second\n---\n");
    write(codex.join("d1/d2/d3/d4/d5/d6"), &plain("six"));
    write(codex.join("d1/d2/d3/d4/d5/d6/d7"), &plain("seven"));
    write(codex.join("quiet"), &plain("quiet"));
    fs::create_dir(codex.join("quiet/agents")).unwrap();
    let policy = "interface:\n  display_name: Q\npolicy:\n  allow_implicit_invocation: false\n";
    fs::write(codex.join("quiet/agents/openai.yaml"), policy).unwrap();
    write(repository.outside().join("elsewhere"), &plain("linked"));
    symlink(repository.outside().join("elsewhere"), codex.join("link")).unwrap();
    symlink(codex.join("quiet"), codex.join("same")).unwrap();
    symlink(&codex, codex.join("loop")).unwrap();
    fs::create_dir(codex.join("file-link")).unwrap();
    write(repository.outside().join("other"), &plain("file-linked"));
    symlink(repository.outside().join("other/SKILL.md"), codex.join("file-link/SKILL.md")).unwrap();
    for (name, text) in [
        ("bare", "no front matter\n"),
        ("unclosed", "---\nname: unclosed\ndescription: d\n"),
        ("aimless", "---\nname: aimless\n---\n"),
        ("blank", "---\nname: blank\ndescription: \"\"\n---\n"),
        ("bom", "\u{feff}---\nname: bom\ndescription: d\n---\n"),
    ] {
        write(codex.join(name), text);
    }
    write(codex.join("long"), &plain(&"n".repeat(65)));

    let cwd = root.join("a/b");
    let (expected, refused) = real_skills(&home, &cwd);
    let found = discover(&SkillRequest::new(&cwd, Some(home.codex_home()), Some(home.home())));
    let scope = |source| match source {
        SkillSource::Project => "repo",
        SkillSource::User => "user",
        SkillSource::System => "system",
    };
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    // The descriptions of Codex's own skills change with it, and are long.
    let is_ours = |(scope, ..): &&Listed| scope != "system";
    let listed: Vec<_> = found
        .skills
        .iter()
        .map(|skill| {
            let Skill { source, name, description, path, .. } = skill.clone();
            (scope(source).to_owned(), name, description, text(&path))
        })
        .collect();
    let ours = |all: &[Listed]| -> Vec<_> { all.iter().filter(is_ours).cloned().collect() };
    assert_eq!(ours(&listed), ours(&expected));
    let names = |all: &[Listed]| -> Vec<_> {
        all.iter().filter(|skill| !is_ours(skill)).map(|skill| skill.1.clone()).collect()
    };
    assert_eq!(names(&listed), names(&expected));
    assert_eq!(found.errors.iter().map(|error| text(&error.path)).collect::<Vec<_>>(), refused);
    let own = found.skills.iter().filter(|skill| skill.source == SkillSource::User);
    let hidden: Vec<_> = own.filter(|skill| skill.hidden).map(|skill| &skill.name).collect();
    assert_eq!(hidden, ["quiet"]);
}
