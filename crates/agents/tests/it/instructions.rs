//! Which instruction files apply, compared with what the real Codex puts into its prompt.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use co_agents::instructions::{
    InstructionRequest, InstructionScope, Instructions, Stamp, USUAL_PLACES, discover,
};
use co_testkit::{CodexHome, INSTALL_HINT, codex_program};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// Shortens the tables below.
use InstructionScope::{Additional, Global, Project as InProject};

/// Holds a project with instructions at `p`, `p/a` and `p/a/b`, and an agent's home.
struct Project {
    directory: TempDir,
    home: CodexHome,
}

impl Project {
    fn new() -> Self {
        let project =
            Self { directory: TempDir::new().unwrap(), home: CodexHome::new("http://127.0.0.1:9/v1") };
        fs::create_dir_all(project.path("p/.git")).unwrap();
        fs::create_dir_all(project.path("p/a/b")).unwrap();
        fs::write(project.home.codex_home().join("AGENTS.md"), "global\n").unwrap();
        project.write("AGENTS.md", "above the root\n");
        project.write("p/AGENTS.md", "root\n");
        project.write("p/a/AGENTS.md", "a\n");
        project.write("p/a/b/AGENTS.md", "b\n");
        project
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().canonicalize().unwrap().join(path)
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn request(&self, cwd: &str) -> InstructionRequest {
        InstructionRequest::new(self.path(cwd), Some(self.home.codex_home()), None)
    }

    fn discover(&self) -> Instructions {
        discover(&self.request("p/a/b"))
    }

    /// Lists the files by scope and path, relative to the project or the agent's home.
    fn listed(&self, instructions: &Instructions) -> Vec<(InstructionScope, String)> {
        let homes = [self.path(""), self.home.codex_home()];
        let relative = |path: &Path| {
            let inside = homes.iter().find_map(|home| path.strip_prefix(home).ok()).unwrap();
            inside.to_str().unwrap().to_owned()
        };
        instructions.sources.iter().map(|source| (source.scope, relative(&source.path))).collect()
    }

    /// Asks the real Codex which instructions it would send to the model.
    #[expect(clippy::disallowed_methods, reason = "a test waits for one short command")]
    fn codex(&self) -> String {
        let output = Command::new(codex_program().expect(INSTALL_HINT))
            .args(["debug", "prompt-input", "hello"])
            .current_dir(self.path("p/a/b"))
            .env_clear()
            .envs(self.home.environment(std::env::var_os("PATH").unwrap()))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let input: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        let contents =
            input.as_array().unwrap().iter().filter_map(|item| item["content"].as_array()).flatten();
        let texts: Vec<&str> = contents.filter_map(|content| content["text"].as_str()).collect();
        let found = texts.iter().find_map(|text| {
            text.split_once("<INSTRUCTIONS>\n")?.1.split_once("\n</INSTRUCTIONS>").map(|(text, _)| text)
        });
        found.unwrap_or_default().to_owned()
    }
}

/// Puts the listed files together as Codex does.
fn composed(instructions: &Instructions) -> String {
    let texts = |scope| {
        let of_scope = instructions.sources.iter().filter(move |source| source.scope == scope);
        of_scope.map(|source| {
            let bytes = fs::read(&source.path).unwrap();
            String::from_utf8_lossy(&bytes[..usize::try_from(source.bytes).unwrap()]).into_owned()
        })
    };
    let project: Vec<String> = texts(InstructionScope::Project).collect();
    let project = project.join("\n\n");
    match (texts(InstructionScope::Global).next(), project.is_empty()) {
        (Some(global), true) => global.trim().to_owned(),
        (Some(global), false) => format!("{}\n\n--- project-doc ---\n\n{project}", global.trim()),
        (None, _) => project,
    }
}

/// Names a situation, and how to bring a fresh project into it.
type Situation = (&'static str, fn(&Project));

#[test]
fn the_files_are_those_that_the_real_codex_reads() {
    let table: &[Situation] = &[
        ("plain", |_| {}),
        ("an override", |project| project.write("p/a/AGENTS.override.md", "override\n")),
        ("a blank override hides", |project| project.write("p/a/AGENTS.override.md", " \n")),
        ("a blank file", |project| project.write("p/a/AGENTS.md", "\n")),
        ("a global override", |project| {
            fs::write(project.home.codex_home().join("AGENTS.override.md"), "other\n").unwrap();
        }),
        ("a blank global override does not hide", |project| {
            fs::write(project.home.codex_home().join("AGENTS.override.md"), " \n").unwrap();
        }),
        ("no global file", |project| fs::remove_file(project.home.codex_home().join("AGENTS.md")).unwrap()),
        ("no root marker", |project| fs::remove_dir(project.path("p/.git")).unwrap()),
        ("a marker that is a file, nearer", |project| project.write("p/a/.git", "gitdir: x\n")),
        ("a directory of that name", |project| {
            fs::create_dir(project.path("p/a/b/AGENTS.override.md")).unwrap();
        }),
        ("a link to nowhere", |project| {
            symlink("nowhere", project.path("p/a/b/AGENTS.override.md")).unwrap();
        }),
        ("a link to another", |project| {
            fs::remove_file(project.path("p/a/AGENTS.md")).unwrap();
            symlink("../AGENTS.md", project.path("p/a/AGENTS.md")).unwrap();
        }),
        ("a loop of links that is hidden", |project| {
            project.write("p/a/AGENTS.override.md", "override\n");
            fs::remove_file(project.path("p/a/AGENTS.md")).unwrap();
            symlink("AGENTS.md", project.path("p/a/AGENTS.md")).unwrap();
        }),
        ("a loop of links below a spent budget", |project| {
            project.write("p/AGENTS.md", "r".repeat(40_000));
            fs::remove_file(project.path("p/a/AGENTS.md")).unwrap();
            symlink("AGENTS.md", project.path("p/a/AGENTS.md")).unwrap();
        }),
        ("a loop of links", |project| {
            fs::remove_file(project.path("p/a/AGENTS.md")).unwrap();
            symlink("AGENTS.md", project.path("p/a/AGENTS.md")).unwrap();
        }),
        ("not UTF-8", |project| project.write("p/a/AGENTS.md", b"\xff\xfe a\n")),
        ("too long at the root", |project| project.write("p/AGENTS.md", "r".repeat(40_000))),
        ("too long in the middle", |project| project.write("p/a/AGENTS.md", "ä".repeat(20_000))),
        ("exactly the budget", |project| project.write("p/AGENTS.md", "r".repeat(32 * 1024))),
    ];
    for (situation, arrange) in table {
        let project = Project::new();
        arrange(&project);
        let instructions = project.discover();
        assert_eq!(composed(&instructions), project.codex(), "{situation}: {instructions:#?}");
    }
}

#[test]
fn sources_are_listed_with_their_hashes_in_order() {
    let project = Project::new();
    project.write("p/docs/AGENTS.md", "docs\n");
    project.write("p/.agent/AGENTS.md", "agent\n");
    let mut request = project.request("p/a/b");
    request.additional = USUAL_PLACES.map(str::to_owned).to_vec();
    let instructions = discover(&request);
    let expected = [
        (Global, "AGENTS.md"),
        (InProject, "p/AGENTS.md"),
        (InProject, "p/a/AGENTS.md"),
        (InProject, "p/a/b/AGENTS.md"),
        (Additional, "p/docs/AGENTS.md"),
        (Additional, "p/.agent/AGENTS.md"),
    ];
    assert_eq!(project.listed(&instructions), expected.map(|(scope, path)| (scope, path.to_owned())));
    assert_eq!(instructions.sources[1].sha256, sha256(b"root\n"));
    assert_eq!((instructions.sources[1].bytes, instructions.sources[1].truncated), (5, false));
    let hashes: String = instructions.sources.iter().map(|source| source.sha256.clone() + "\n").collect();
    assert_eq!(instructions.combined_sha256, sha256(hashes.as_bytes()));
    assert_eq!(discover(&request), instructions);
    assert_eq!(project.discover().sources.len(), 4, "the further places are told only if they are asked for");
    project.write("p/docs/AGENTS.md", "docs!\n");
    assert_ne!(discover(&request).combined_sha256, instructions.combined_sha256);
}

#[test]
fn the_budget_counts_the_project_and_cuts_at_the_byte() {
    let project = Project::new();
    let mut request = project.request("p/a/b");
    request.max_bytes = 6;
    let instructions = discover(&request);
    let counted: Vec<_> =
        instructions.sources.iter().map(|source| (source.scope, source.bytes, source.truncated)).collect();
    assert_eq!(counted, [(Global, 7, false), (InProject, 5, false), (InProject, 1, true)]);
    assert_eq!(instructions.sources[2].sha256, sha256(b"a"));
    request.max_bytes = 0;
    assert_eq!(discover(&request).sources.len(), 1);
}

#[test]
fn markers_and_stand_in_names_can_be_configured() {
    let project = Project::new();
    project.write("p/a/.root", "");
    project.write("p/a/b/c/CLAUDE.md", "c\n");
    let mut request = project.request("p/a/b/c");
    request.root_markers = vec![".root".into()];
    request.fallback_names = vec!["../AGENTS.md".into(), "CLAUDE.md".into()];
    let paths: Vec<String> = project.listed(&discover(&request)).into_iter().map(|(_, path)| path).collect();
    assert_eq!(paths, ["AGENTS.md", "p/a/AGENTS.md", "p/a/b/AGENTS.md", "p/a/b/c/CLAUDE.md"]);
    request.root_markers.clear();
    let paths: Vec<String> = project.listed(&discover(&request)).into_iter().map(|(_, path)| path).collect();
    assert_eq!(paths, ["AGENTS.md", "p/a/b/c/CLAUDE.md"]);
}

#[test]
fn a_stamp_is_checked_and_never_needed() {
    let project = Project::new();
    let stamped = |rest: &str, hash: &str| format!("<!-- codex:instruction-stamp {hash} -->\n{rest}");
    let stamp_of = |content: String| {
        project.write("p/AGENTS.md", content);
        let instructions = project.discover();
        (instructions.sources[1].stamp, instructions.sources[1].truncated)
    };
    let rest = "rules\n";
    assert_eq!(stamp_of(rest.to_owned()), (Stamp::Absent, false));
    assert_eq!(stamp_of(stamped(rest, &sha256(rest.as_bytes()))), (Stamp::Verified, false));
    assert_eq!(stamp_of(stamped(rest, &sha256(rest.as_bytes()).to_uppercase())), (Stamp::Verified, false));
    assert_eq!(stamp_of(stamped("rules!\n", &sha256(rest.as_bytes()))), (Stamp::Mismatch, false));
    assert_eq!(stamp_of(stamped(rest, "none")), (Stamp::Mismatch, false));
    let tagged = |hash: &str| format!("<!-- checked by hand, sha256:{hash} -->\n{rest}");
    assert_eq!(stamp_of(tagged(&sha256(rest.as_bytes()))), (Stamp::Verified, false));
    assert_eq!(stamp_of(tagged("0")), (Stamp::Mismatch, false));
    let told = project.discover();
    assert_eq!(told.sources.len(), 4, "a stamp that is not true hides nothing");
    assert!(matches!(told.warnings.as_slice(), [warning] if warning.contains("p/AGENTS.md")), "{told:?}");
    assert_eq!(stamp_of("<!-- only a comment -->\nrules\n".to_owned()), (Stamp::Absent, false));
    let long = "long\n".repeat(10_000);
    assert_eq!(stamp_of(stamped(&long, &sha256(long.as_bytes()))), (Stamp::Verified, true));
    let longer = "longer\n".repeat(200_000);
    assert_eq!(stamp_of(stamped(&longer, &sha256(longer.as_bytes()))), (Stamp::Mismatch, true));
}

#[test]
fn what_cannot_be_read_is_a_warning() {
    let project = Project::new();
    fs::remove_file(project.path("p/a/AGENTS.md")).unwrap();
    symlink("AGENTS.md", project.path("p/a/AGENTS.md")).unwrap();
    let instructions = project.discover();
    assert_eq!(project.listed(&instructions), [(InstructionScope::Global, "AGENTS.md".to_owned())]);
    let [loops, consequence] = instructions.warnings.as_slice() else {
        panic!("{:?}", instructions.warnings)
    };
    assert!(loops.contains("p/a/AGENTS.md") && consequence.contains("no instructions of the project"));
    let gone = discover(&InstructionRequest::new(project.path("gone"), None, None));
    assert_eq!((gone.sources.len(), gone.warnings.len()), (0, 0));
}

#[test]
fn why_each_file_is_told_or_not_is_said() {
    let project = Project::new();
    project.write("p/a/AGENTS.override.md", "override\n");
    project.write("p/a/CLAUDE.md", "c\n");
    project.write("p/a/b/AGENTS.md", " \n");
    project.write("p/a/b/c/AGENTS.md", "0123456789");
    project.write("p/a/b/c/d/AGENTS.md", "d\n");
    project.write("p/docs/AGENTS.md", "docs\n");
    project.write("p/notes/AGENTS.md", "notes\n");
    let mut request = project.request("p/a/b/c/d");
    request.max_bytes = 5 + 9 + 4;
    request.fallback_names = vec!["CLAUDE.md".into(), "../x".into()];
    request.additional = vec!["notes/AGENTS.md".into(), "../AGENTS.md".into(), "/etc/hosts".into()];
    let instructions = discover(&request);
    let expected = [
        "../x: not told: it is no name of a file inside the project",
        "p/AGENTS.md: told",
        "p/a/AGENTS.override.md: told",
        "p/a/AGENTS.md: not told: `AGENTS.override.md` stands in its place",
        "p/a/CLAUDE.md: not told: `AGENTS.override.md` stands in its place",
        "p/a/b/AGENTS.md: not told: it is blank",
        "p/a/b/c/AGENTS.md: told up to byte 4, where the budget ends",
        "p/a/b/c/d/AGENTS.md: not told: the files above it spend the budget of 18 bytes",
        "p/notes/AGENTS.md: told",
        "../AGENTS.md: not told: it is no name of a file inside the project",
        "/etc/hosts: not told: it is no name of a file inside the project",
        "p/docs/AGENTS.md: not told: codex does not look there, and nobody asked for it",
    ];
    let root = project.path("p").parent().unwrap().display().to_string() + "/";
    let explained = instructions.explain();
    assert!(explained[0].ends_with("AGENTS.md: told"), "the global one: {explained:#?}");
    let explained: Vec<&str> =
        explained[1..].iter().map(|line| line.strip_prefix(&root).unwrap_or(line)).collect();
    assert_eq!(explained, expected);
}

/// `codex exec -C` goes by the path that it is given: above a link it looks where the link lies.
#[test]
fn directories_above_are_those_of_the_given_spelling() {
    let project = Project::new();
    symlink(project.path("p/a/b"), project.path("p/link")).unwrap();
    let paths: Vec<_> =
        project.listed(&discover(&project.request("p/link"))).into_iter().map(|(_, path)| path).collect();
    assert_eq!(paths, ["AGENTS.md", "p/AGENTS.md", "p/link/AGENTS.md"]);
}

#[test]
fn the_agents_home_is_the_given_one_or_below_the_persons() {
    let home = |codex: Option<&str>, home: Option<&str>| {
        InstructionRequest::new("/", codex.map(PathBuf::from), home.map(PathBuf::from)).agent_home
    };
    assert_eq!(home(Some("/c"), Some("/h")), Some("/c".into()));
    assert_eq!(home(Some(""), Some("/h")), Some("/h/.codex".into()));
    assert_eq!(home(None, None), None);
}

fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write;
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
