//! Variables: those that are read, and those that stages get; and where the repository begins.

use crate::commands::{Workshop, documents};

const STAGES: &str = r#"[{ "id": "a", "command": "env; pwd" }, { "id": "b", "command": "true" }]"#;

#[test]
fn variables_are_read_and_flags_win() {
    let mut project = Workshop::with_stages(STAGES);
    project.set("MCP_RUNNER_TASK_ID", "0303");
    project.set("CODEX_ORCHESTRATOR_RUNS_DIR", "else/runs");
    project.set("CODEX_ORCHESTRATOR_OUT_DIR", "else/out");
    project.set("CODEX_ORCHESTRATOR_TARGET_STAGE", "b");
    let first = project.run(&["start", "--json"]).expect(0).json();
    assert_eq!(first["task_id"], "0303");
    let manifest = project.json_file(first["manifest"].as_str().unwrap());
    assert!(first["manifest"].as_str().unwrap().starts_with("else/runs/0303/cli/"), "{first}");
    assert_eq!(manifest["plan_target_id"], "main:b");
    assert!(project.path("else/out/0303/state.json").is_file());
    assert!(!project.path(".runs").exists() && !project.path("out").exists());

    let second = project
        .run(&[
            "start",
            "--json",
            "--task",
            "flag",
            "--runs-dir",
            "f/runs",
            "--out-dir",
            "f/out",
            "--target",
            "a",
        ])
        .expect(0)
        .json();
    assert_eq!(second["task_id"], "flag");
    let manifest = project.json_file(second["manifest"].as_str().unwrap());
    assert!(second["manifest"].as_str().unwrap().starts_with("f/runs/flag/cli/"), "{second}");
    assert_eq!(manifest["plan_target_id"], "main:a");
    for place in ["else", "f"] {
        documents::check_below(&project, &project.path(place).join("runs"), &project.path(place).join("out"));
    }
    let explained = project.run(&["config", "explain", "--json", "--task", "flag"]).expect(0).json();
    let source = |name: &str| {
        let rows = explained.as_array().unwrap();
        rows.iter().find(|row| row["name"] == name).unwrap()["source"].as_str().unwrap().to_owned()
    };
    assert_eq!(source("task"), "--task");
    assert_eq!(source("runs_dir"), "CODEX_ORCHESTRATOR_RUNS_DIR");
    assert_eq!(source("stale_after"), "default");
    assert_eq!(project.repository().git(&["status", "--porcelain"]), "");
}

#[test]
fn a_root_elsewhere_is_worked_in() {
    let mut project = Workshop::with_stages(STAGES);
    let elsewhere = tempfile::tempdir().unwrap();
    let root = project.root().to_owned();
    project.set("CODEX_ORCHESTRATOR_ROOT", root.as_os_str());
    let output = project.command(&["start", "--json"]).current_dir(elsewhere.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let log = project.run(&["logs", "--raw"]).stdout;
    assert!(log.contains(&format!("CODEX_ORCHESTRATOR_ROOT={}\n", root.display())), "{log}");
    let flag = project.run(&["start", "--root", elsewhere.path().to_str().unwrap()]).expect(3);
    assert!(flag.stderr.contains(elsewhere.path().to_str().unwrap()), "the flag wins: {}", flag.stderr);
}

#[test]
fn stages_know_where_they_are() {
    let mut project = Workshop::with_stages(STAGES);
    project.set("INHERITED", "yes");
    let run = project.run(&["start", "--task", "t1", "--json"]).expect(0).run_id();
    let env = project.run(&["logs", "--raw", "--stage", "a"]).stdout;
    let root = project.root().display();
    for line in [
        "MCP_RUNNER_TASK_ID=t1".to_owned(),
        "CODEX_ORCHESTRATOR_TASK_ID=t1".to_owned(),
        format!("CODEX_ORCHESTRATOR_RUN_ID={run}"),
        "CODEX_ORCHESTRATOR_PIPELINE_ID=main".to_owned(),
        "CODEX_ORCHESTRATOR_STAGE_ID=a".to_owned(),
        "CODEX_ORCHESTRATOR_ATTEMPT=1".to_owned(),
        format!("CODEX_ORCHESTRATOR_MANIFEST_PATH={root}/.runs/t1/cli/{run}/manifest.json"),
        format!("CODEX_ORCHESTRATOR_RUN_DIR={root}/.runs/t1/cli/{run}"),
        format!("CODEX_ORCHESTRATOR_RUNS_DIR={root}/.runs"),
        format!("CODEX_ORCHESTRATOR_OUT_DIR={root}/out"),
        format!("CODEX_ORCHESTRATOR_ROOT={root}"),
        "INHERITED=yes".to_owned(),
        root.to_string(),
    ] {
        assert!(env.lines().any(|found| found == line), "{line}: {env}");
    }
}

#[test]
fn below_the_top_the_repository_is_found() {
    let project = Workshop::with_stages(STAGES);
    let below = project.path("deep/er");
    std::fs::create_dir_all(&below).unwrap();
    let run = |arguments: &[&str], folder: &std::path::Path| {
        let output = project.command(arguments).current_dir(folder).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    run(&["start"], &below);
    let ran_in = run(&["logs", "--raw", "--stage", "a"], &below);
    assert_eq!(ran_in.lines().last(), project.root().to_str());
    assert!(run(&["config", "explain"], &below).contains("the folder above with `codex.orchestrator.json`"));
    assert!(!below.join(".runs").exists());

    // A folder with pipelines of its own is what is meant there.
    std::fs::copy(project.path("codex.orchestrator.json"), below.join("codex.orchestrator.json")).unwrap();
    run(&["start"], &below);
    assert!(below.join(".runs").is_dir());

    // A repository inside ends the search.
    let inner = project.path("inner");
    std::fs::create_dir_all(inner.join(".git")).unwrap();
    let output = project.command(&["plan"]).current_dir(&inner).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
}

#[test]
fn the_users_file_lies_below_the_variables() {
    let project = Workshop::with_stages(STAGES);
    let home = project.root().parent().unwrap().join("home/.config/codex-orchestrator");
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(home.join("config.toml"), "actor = \"ann\"\n").unwrap();
    let explained = project.run(&["config", "explain"]).expect(0).stdout;
    let row = explained.lines().find(|line| line.starts_with("actor")).unwrap();
    assert!(row.contains("ann") && row.contains("config.toml:1"), "{row}");
    let run = project.run(&["start", "--json"]).expect(0).run_id();
    assert_eq!(project.manifest(&run)["actor"], "ann");
    std::fs::write(home.join("config.toml"), "actr = \"ann\"\n").unwrap();
    let ended = project.run(&["plan"]).expect(2);
    assert!(ended.stderr.contains("config.toml:1:1") && ended.stderr.contains("`actor`"), "{}", ended.stderr);
    std::fs::remove_file(home.join("config.toml")).unwrap();
}

#[test]
fn a_home_that_is_no_folder_holds_no_settings_and_settings_that_cannot_be_read_are_a_matter_of_set_up() {
    let mut project = Workshop::with_stages(STAGES);
    project.set("HOME", "/dev/null");
    project.run(&["start"]).expect(0);
    project.run(&["runs"]).expect(0);
    let config = project.path("../config");
    std::fs::create_dir_all(config.join("codex-orchestrator/config.toml")).unwrap();
    project.set("XDG_CONFIG_HOME", config);
    let ended = project.run(&["runs"]).expect(3);
    assert!(ended.stderr.contains("config.toml"), "{ended:?}");
}

#[test]
fn every_setting_is_explained_with_the_value_that_holds() {
    let mut project = Workshop::with_stages(STAGES);
    let explained = |project: &Workshop, name: &str| {
        let rows = project.run(&["config", "explain", "--json"]).expect(0).json();
        let row = rows.as_array().unwrap().iter().find(|row| row["name"] == name).unwrap().clone();
        ["value", "source"].map(|field| row[field].as_str().unwrap_or("null").to_owned())
    };
    assert_eq!(explained(&project, "privacy_guard"), ["enforce", "default"]);
    assert_eq!(explained(&project, "codex"), ["codex", "default"]);
    project.set("CODEX_PRIVACY_GUARD_ENFORCE", "0");
    let [mode, source] = explained(&project, "privacy_guard");
    assert!(mode == "shadow" && source.contains("CODEX_PRIVACY_GUARD_ENFORCE"), "{mode} {source}");
}
