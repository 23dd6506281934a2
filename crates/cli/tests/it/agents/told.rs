//! What a person is shown of agents and their instructions.

use co_testkit::{INSTALL_HINT, codex_program};
use serde_json::{Value, json};

use crate::support::Project;

#[test]
fn agents_are_listed_with_what_works_and_checked_by_name() {
    let mut project = Project::empty();
    project.set("CODEX_ORCHESTRATOR_CODEX", codex_program().expect(INSTALL_HINT));
    let listed = project.run(&["agents", "list", "--json"]).expect(0).json();
    let names: Vec<_> = listed.as_array().unwrap().iter().map(|agent| &agent["agent"]).collect();
    assert_eq!(names, ["codex", "codex-app-server", "claude"]);
    assert_eq!(
        (&listed[0]["is_tested"], &listed[0]["abilities"]["approvals"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(listed[1]["abilities"]["approvals"], true);
    let shown = project.run(&["agents", "check", "codex-app-server"]).expect(0);
    assert!(shown.stdout.contains("asks for approval"), "{shown:?}");
    let unknown = project.run(&["agents", "check", "codx"]).expect(4);
    assert!(unknown.stderr.contains("known: codex, codex-app-server, claude"), "{unknown:?}");

    // A program that says another version is used, and warned of.
    let other = project.repository().outside().join("codex");
    std::fs::write(&other, "#!/bin/sh\necho codex-cli 99.0.0\n").unwrap();
    std::fs::set_permissions(&other, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    project.set("CODEX_ORCHESTRATOR_CODEX", other);
    let found = project.run(&["agents", "check", "codex", "--json"]).expect(0).json();
    assert!(found[0]["warnings"][0].as_str().unwrap().contains("99.0.0 was not tested"), "{found:#}");
    project.set("CODEX_ORCHESTRATOR_CODEX", "/nowhere/codex");
    project.run(&["agents", "check", "codex"]).expect(3);
}

#[test]
fn instructions_are_shown_with_the_reason_for_each_place() {
    let mut project = Project::empty();
    let home = project.repository().outside().join("codex-home");
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(home.join("config.toml"), "project_doc_fallback_filenames = [\"GUIDE.md\"]\n").unwrap();
    project.set("CODEX_HOME", home);
    project.repository().write("AGENTS.md", "Be brief.\n");
    project.repository().write("docs/AGENTS.md", "Write docs.\n");
    project.repository().write("server/GUIDE.md", "Mind the server.\n");
    project
        .repository()
        .write(".agents/skills/ship/SKILL.md", "---\nname: ship\ndescription: Ships it.\n---\nShip.\n");
    project.repository().commit("instructions");
    let told = |project: &Project| -> Value {
        project.run(&["instructions", "show", "--cwd", "server", "--json"]).expect(0).json()
    };
    let sources = |told: &Value| -> Vec<String> {
        let root = format!("{}/", project_root(told));
        let paths = told["instructions"]["sources"].as_array().unwrap().iter();
        paths.map(|source| source["path"].as_str().unwrap().replace(&root, "")).collect()
    };
    let plain = told(&project);
    assert_eq!(sources(&plain), ["AGENTS.md", "server/GUIDE.md"]);
    assert_eq!(plain["skills"][0]["name"], "ship");
    let shown = project.run(&["instructions", "show"]).expect(0);
    assert!(shown.stdout.contains("docs/AGENTS.md"), "it is found and not told: {shown:?}");
    project.set("CODEX_ORCHESTRATOR_INSTRUCTION_PLACES", "docs/AGENTS.md");
    assert_eq!(sources(&told(&project)), ["AGENTS.md", "server/GUIDE.md", "docs/AGENTS.md"]);
    project.run(&["instructions", "show", "--agent", "claude"]).expect(2);
    project.run(&["instructions", "show", "--cwd", "nowhere"]).expect(4);
}

/// The repository, as the document names the directory below it.
fn project_root(told: &Value) -> String {
    told["cwd"].as_str().unwrap().trim_end_matches("/server").to_owned()
}
