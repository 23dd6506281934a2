//! The person's own Codex settings and rules, and flags beside them.

use std::fs;

use super::{calls, codex_home};
use crate::commands::{Workshop, stage};

const PUSH: &str = r#"[{ "id": "push", "command": ["git", "push", "nowhere"] }]"#;

#[test]
fn a_rule_that_forbids_is_told_with_its_reason_and_nothing_runs() {
    let mut project = Workshop::with_stages(PUSH);
    let home = codex_home(&mut project);
    let rule = r#"prefix_rule(pattern = ["git", "push"], decision = "forbidden", justification = "pushes are made by people")"#;
    fs::write(home.join("rules/ours.rules"), rule).unwrap();
    let ended = project.run(&["start", "--json"]).expect(11);
    let manifest = project.manifest(&ended.run_id());
    let push = stage(&manifest, "push");
    assert_eq!(push["reason"], "refused", "{push:#}");
    assert!(push["summary"].as_str().unwrap().contains("pushes are made by people"), "{push:#}");
    assert_eq!(calls(&project, &ended.run_id()), ["requested by stage", "denied: policy"]);
    let sources = manifest["policy"]["sources"].as_array().unwrap();
    let named = sources.iter().any(|source| {
        source["name"].as_str().unwrap().ends_with("ours.rules") && source["sha256"].is_string()
    });
    assert!(named, "{sources:#?}");
}

#[test]
fn the_policy_of_the_settings_holds_and_a_flag_may_only_narrow_it() {
    let mut project = Workshop::with_stages(r#"[{ "id": "s", "command": "true" }]"#);
    let home = codex_home(&mut project);
    fs::write(home.join("config.toml"), "approval_policy = \"never\"\nsandbox_mode = \"read-only\"\n")
        .unwrap();
    let ended = project.run(&["start", "--json"]).expect(0);
    let policy = &project.manifest(&ended.run_id())["policy"];
    assert_eq!((&policy["approval"], &policy["sandbox"]["mode"]), (&"never".into(), &"read-only".into()));

    let wider = project.run(&["start", "--sandbox", "workspace-write"]).expect(11);
    assert!(wider.stderr.contains("--widen"), "{wider:?}");
    let wider = project.run(&["start", "--approval-policy", "on-request"]).expect(11);
    assert!(wider.stderr.contains("--widen"), "{wider:?}");
    let wider = project.run(&["start", "--network", "on"]).expect(11);
    assert!(wider.stderr.contains("--widen"), "{wider:?}");
    let ended = project.run(&["start", "--sandbox", "workspace-write", "--widen", "--json"]).expect(0);
    let policy = &project.manifest(&ended.run_id())["policy"];
    assert_eq!(policy["sandbox"]["mode"], "workspace-write");
    let said = policy["sources"].as_array().unwrap().iter().any(|source| source["sha256"].is_null());
    assert!(said, "the flag is recorded: {policy:#}");
}

#[test]
fn a_task_has_a_policy_of_its_own_which_is_recorded_and_flags_narrow_it() {
    let mut project = Workshop::with_stages(r#"[{ "id": "s", "command": "true" }]"#);
    let home = codex_home(&mut project);
    fs::write(home.join("config.toml"), "approval_policy = \"never\"\nsandbox_mode = \"read-only\"\n")
        .unwrap();
    let folder = home.join("settings/codex-orchestrator");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("config.toml");
    let words = "[tasks.web]\napproval_policy = \"on-request\"\nsandbox = \"workspace-write\"\nwritable_roots = [\"/var/tmp\"]\n";
    fs::write(&file, words).unwrap();
    project.set("XDG_CONFIG_HOME", home.join("settings"));
    let policy = |project: &Workshop, arguments: &[&str]| {
        project.run(&[&["start", "--json"], arguments].concat()).expect(0);
        let run = super::newest(project).unwrap();
        let status = project.run(&["status", "--run", &run, "--json"]).expect(0).json();
        let path = status["manifest"].as_str().unwrap_or_else(|| panic!("{status:#}")).to_owned();
        project.json_file(path)["policy"].clone()
    };
    let web = policy(&project, &["--task", "web"]);
    assert_eq!(
        (&web["approval"], &web["sandbox"]["mode"]),
        (&"on-request".into(), &"workspace-write".into())
    );
    assert_eq!(web["sandbox"]["writable_roots"][0], "/var/tmp");
    let named = |policy: &serde_json::Value| policy["sources"].to_string().contains("task web");
    assert!(named(&web), "{web:#}");
    let narrowed = policy(&project, &["--task", "web", "--sandbox", "read-only"]);
    assert_eq!(narrowed["sandbox"]["mode"], "read-only");
    let other = policy(&project, &["--task", "other"]);
    assert!(other["approval"] == "never" && !named(&other), "{other:#}");

    for wrong in ["[tasks.web]\nsandbox = \"none\"\n", "[tasks.web]\nnetworks = \"on\"\n", "tasks = 1\n"] {
        fs::write(&file, wrong).unwrap();
        let ended = project.run(&["start", "--task", "web"]);
        assert!(ended.status.code().is_some_and(|code| code == 2 || code == 3), "{wrong}: {ended:?}");
        assert!(ended.stderr.contains("config.toml") || ended.stderr.contains("tasks"), "{ended:?}");
    }
}

#[test]
fn full_auto_is_recorded_and_never_gets_past_never() {
    let mut project = Workshop::bare();
    let home = codex_home(&mut project);
    let policy = |project: &Workshop| {
        let run = super::newest(project).unwrap();
        let policy = project.manifest(&run)["policy"].clone();
        (
            policy["approval"].as_str().unwrap().to_owned(),
            policy["sandbox"]["mode"].as_str().map(str::to_owned),
        )
    };
    project.run(&["exec", "--full-auto", "--", "true"]).expect(0);
    assert_eq!(policy(&project), ("on-request".to_owned(), Some("workspace-write".to_owned())));

    fs::write(home.join("config.toml"), "approval_policy = \"never\"\n").unwrap();
    fs::write(home.join("rules/ours.rules"), "prefix_rule(pattern = [\"touch\"], decision = \"prompt\")\n")
        .unwrap();
    project.run(&["exec", "--full-auto", "--", "true"]).expect(0);
    assert_eq!(policy(&project), ("never".to_owned(), Some("workspace-write".to_owned())));
    project.run(&["exec", "--full-auto", "--", "touch", "made"]).expect(11);
    assert!(!project.path("made").exists());
}

#[test]
fn mistakes_in_settings_and_rules_stop_the_start_and_are_shown() {
    for (file, text, told) in [
        ("config.toml", "approval_policy = \"sometimes\"\n", "sometimes"),
        ("config.toml", "approval_policy = \n", "config.toml"),
        ("rules/ours.rules", "prefix_rule(pattern = [\"a\"], decision = \"maybe\")\n", "maybe"),
        ("rules/ours.rules", "prefix_rule(pattern = [\"a\"\n", "ours.rules"),
        ("rules/ours.rules", "prefix_rule(pattern = [\"a\"], match = [[\"b\"]])\n", "ours.rules"),
    ] {
        let mut project = Workshop::with_stages(r#"[{ "id": "s", "command": "touch ran" }]"#);
        let home = codex_home(&mut project);
        fs::write(home.join(file), text).unwrap();
        let ended = project.run(&["start"]);
        assert!(ended.status.code().is_some_and(|code| code == 2 || code == 3), "{ended:?}");
        assert!(ended.stderr.contains(told), "{text}: {ended:?}");
        // Whoever else wanted to read the file adds a line, not the same report once more.
        assert_eq!(ended.stderr.matches(&format!("{file}:1:")).count(), 1, "{text}: {ended:?}");
        assert!(!project.path("ran").exists() && !project.path(".runs/events.sqlite").exists());
        let command = project.run(&["exec", "touch", "ran"]).expect(3);
        assert_eq!(command.stderr.matches("problem").count(), ended.stderr.matches("problem").count());
        assert!(!command.stderr.contains("warning:") && !project.path("ran").exists(), "{command:?}");
    }
}
