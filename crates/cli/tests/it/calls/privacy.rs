//! No secret is kept, shown or sent, wherever it came from.

use std::path::Path;

use super::{answer, asking, events, question, started};
use crate::commands::{Workshop, stage};

/// Made up, in the form of a real one.
const KEY: &str = "ghp_0123456789abcdefghijABCDEFGHIJ012345";

/// The files below a folder that hold a text, whatever they are.
fn holding(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding(&path, text));
        } else if std::fs::read(&path).unwrap().windows(text.len()).any(|bytes| bytes == text.as_bytes()) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[track_caller]
fn nothing_was_kept(project: &Workshop, text: &str) {
    for folder in [".runs", "out"] {
        assert_eq!(holding(&project.path(folder), text), [] as [String; 0]);
    }
}

#[test]
fn a_key_that_a_stage_prints_in_two_pieces_reaches_no_file_and_no_screen() {
    let project = Workshop::with_stages(
        r#"[
            { "id": "whole", "command": "cat ../key" },
            { "id": "cut", "command": "head -c 9 ../key; sleep 0.1; tail -c +10 ../key >&2; head -c 9 ../key; sleep 0.1; tail -c +10 ../key" }
        ]"#,
    );
    std::fs::write(project.path("../key"), format!("{KEY}\n")).unwrap();
    let ended = project.run(&["start", "--format", "jsonl"]).expect(0);
    assert!(!ended.stdout.contains(KEY) && !ended.stderr.contains(KEY), "{ended:?}");
    nothing_was_kept(&project, KEY);
    let run = super::newest(&project).unwrap();
    let logs = project.run(&["logs", "--run", &run]).expect(0).stdout;
    assert!(logs.contains("[redacted:github-token]") && !logs.contains(KEY), "{logs}");
    let manifest = project.manifest(&run);
    let taken = |id: &str| stage(&manifest, id)["attempts"][0]["redactions"]["github-token"].as_u64();
    assert_eq!((taken("whole"), taken("cut")), (Some(1), Some(1)), "{manifest:#}");
}

#[test]
fn a_guard_that_only_counts_changes_nothing_and_counts_the_same() {
    let mut project = Workshop::with_stages(r#"[{ "id": "whole", "command": "cat ../key" }]"#);
    std::fs::write(project.path("../key"), format!("{KEY}\n")).unwrap();
    for (mode, kept, counted) in [("shadow", true, Some(1)), ("off", true, None), ("enforce", false, Some(1))]
    {
        project.set("CODEX_PRIVACY_GUARD_MODE", mode);
        let run = project.run(&["start", "--json"]).expect(0).run_id();
        let logs = project.run(&["logs", "--run", &run]).expect(0).stdout;
        assert_eq!(logs.contains(KEY), kept, "{mode}: {logs}");
        let manifest = project.manifest(&run);
        let counts = &stage(&manifest, "whole")["attempts"][0]["redactions"];
        assert_eq!(counts["github-token"].as_u64(), counted, "{mode}: {counts:#}");
    }
    project.set("CODEX_PRIVACY_GUARD_MODE", "enforced");
    project.run(&["start"]).expect(2);
}

#[test]
fn a_key_on_a_command_line_is_used_and_not_recorded() {
    let project = Workshop::bare();
    let script = "test \"$1\" = \"$(cat ../key)\" && echo the same";
    std::fs::write(project.path("../key"), KEY).unwrap();
    let ended = project.run(&["exec", "--", "sh", "-c", script, "x", KEY]).expect(0);
    assert_eq!(ended.stdout, "the same\n");
    nothing_was_kept(&project, KEY);
    // Nobody knows it any more: what came from no file is not run with something else in its place.
    let run = super::newest(&project).unwrap();
    let again = project.run(&["retry", "--run", &run]);
    assert_ne!(again.status.code(), Some(0), "{again:?}");
}

#[test]
fn keys_in_a_pipelines_file_are_used_also_by_a_resume_and_not_recorded() {
    let project = Workshop::bare();
    let stages = serde_json::json!([
        { "id": "one", "command": format!("test {KEY} = \"$(cat ../key)\" && test \"$(echo $DEPLOY_PASSWORD | wc -c)\" = 22 && touch one"), "env": { "DEPLOY_PASSWORD": "correct-horse-battery" } },
        { "id": "two", "command": format!("test -e go && test {KEY} = \"$(cat ../key)\"") }
    ]);
    project.write_stages(&stages.to_string());
    std::fs::write(project.path("../key"), KEY).unwrap();
    project.run(&["plan"]).expect(0);
    let run = project.run(&["start", "--json"]).expect(10).run_id();
    assert!(project.path("one").exists());
    std::fs::write(project.path("go"), "").unwrap();
    project.run(&["resume", "--run", &run]).expect(0);
    nothing_was_kept(&project, KEY);
    nothing_was_kept(&project, "correct-horse-battery");
    let shown = project.run(&["plan", "--json"]).expect(0).stdout;
    assert!(!shown.contains(KEY) && shown.contains("[redacted:github-token]"), "{shown}");
}

#[test]
fn what_cannot_be_seen_whole_is_agreed_to_once_only() {
    let project = Workshop::with_stages(&asking(&[("push", &format!("echo {KEY} > /dev/null"))]));
    for _ in 0..2 {
        let (mut child, run) = started(&project, &["start"]);
        let asked = question(&project, &run);
        assert_eq!(asked["request"]["sealed"], true, "{asked:#}");
        assert!(!asked.to_string().contains(KEY), "{asked:#}");
        answer(&project, &run, &["yes", "--scope", "always"]);
        assert!(child.wait().unwrap().success());
        let told = events(&project, &run);
        let answered = told.iter().find(|event| event["type"] == "question_answered").unwrap();
        assert_eq!(answered["data"]["scope"], "once", "{answered:#}");
    }
}

#[test]
fn patterns_and_variables_of_the_persons_own_are_secrets_too() {
    let mut project = Workshop::with_stages(
        r#"[{ "id": "s", "command": "echo cust-12345678 $MINE; printf %s \"$MINE\" | base64" }]"#,
    );
    let file = "privacy_guard = \"enforce\"\nsecret_variables = \"MINE\"\n[secret_patterns]\ncustomer = \"cust-[0-9]{8}\"\n";
    let folder = project.root().parent().unwrap().join("settings/codex-orchestrator");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("config.toml"), file).unwrap();
    project.set("XDG_CONFIG_HOME", folder.parent().unwrap());
    project.set("MINE", "an ordinary sentence");
    let run = project.run(&["start", "--json"]).expect(0).run_id();
    nothing_was_kept(&project, "cust-12345678");
    nothing_was_kept(&project, "an ordinary sentence");
    let manifest = project.manifest(&run);
    let counts = &stage(&manifest, "s")["attempts"][0]["redactions"];
    assert_eq!((counts["customer"].as_u64(), counts["MINE"].as_u64()), (Some(1), Some(2)), "{counts:#}");

    std::fs::write(folder.join("config.toml"), "[secret_patterns]\nbad = \"(\"\n").unwrap();
    let ended = project.run(&["start"]).expect(3);
    assert!(ended.stderr.contains("bad"), "{ended:?}");
    std::fs::write(folder.join("config.toml"), "secret_patterns = \"x\"\nprivacy_gard = \"off\"\n").unwrap();
    let ended = project.run(&["start"]);
    assert!(ended.stderr.contains("table of strings") && ended.stderr.contains("privacy_guard"), "{ended:?}");
}

#[test]
fn what_people_tell_a_run_holds_no_secret_either() {
    let project = Workshop::with_stages(&asking(&[("s", "true")]));
    let (mut child, run) = started(&project, &["start"]);
    question(&project, &run);
    answer(&project, &run, &["no", "--reason", &format!("not with {KEY}")]);
    assert_eq!(child.wait().unwrap().code(), Some(11));
    nothing_was_kept(&project, KEY);
}

#[test]
fn no_secret_of_ours_reaches_a_stage_and_settings_choose_the_rest() {
    let mut project = Workshop::with_stages(r#"[{ "id": "s", "command": "env > ../seen" }]"#);
    let home = super::codex_home(&mut project);
    std::fs::write(
        home.join("config.toml"),
        "[shell_environment_policy]\ninherit = \"all\"\nexclude = [\"CORP_*\"]\nset = { ADDED = \"yes\" }\n",
    )
    .unwrap();
    project.set("CORP_SECRET", "one");
    project.set("CODEX_ORCHESTRATOR_NOTIFY_SECRET", "two");
    project.set("PLAIN", "three");
    project.run(&["start"]).expect(0);
    let seen = std::fs::read_to_string(project.path("../seen")).unwrap();
    assert!(!seen.contains("CORP_SECRET") && !seen.contains("NOTIFY_SECRET"), "{seen}");
    assert!(seen.contains("PLAIN=three") && seen.contains("ADDED=yes"), "{seen}");
}

#[test]
fn the_words_of_errors_questions_and_names_hold_no_secret_either() {
    let project = Workshop::bare();
    let ended = project.run(&["exec", "-q", "--", &format!("GITHUB_TOKEN={KEY}"), "npm", "publish"]);
    assert_ne!(ended.status.code(), Some(0));
    assert!(!ended.stdout.contains(KEY) && !ended.stderr.contains(KEY), "{ended:?}");
    let agent = format!("acp:sh -c 'echo {KEY}'");
    let ended = project.run(&["exec", "--agent", &agent, "hi"]);
    assert!(!ended.stdout.contains(KEY) && !ended.stderr.contains(KEY), "{ended:?}");
    nothing_was_kept(&project, KEY);

    let gate = serde_json::json!([{ "id": "ask", "kind": "gate", "message": format!("deploy with {KEY}?") }]);
    project.write_stages(&gate.to_string());
    let (mut child, run) = started(&project, &["start", "--actor", &format!("ann {KEY}")]);
    let asked = question(&project, &run);
    assert_eq!(asked["message"], "deploy with [redacted:github-token]?");
    answer(&project, &run, &["yes", "--actor", &format!("bob {KEY}")]);
    assert!(child.wait().unwrap().success());
    nothing_was_kept(&project, KEY);
    assert_eq!(project.manifest(&run)["actor"], "ann [redacted:github-token]");
}

#[test]
fn an_agent_is_started_with_the_secret_that_its_command_line_holds() {
    let project = Workshop::bare();
    let agent = format!("acp:sh -c 'test {KEY} = \"$(cat ../key)\" && touch seen'");
    std::fs::write(project.path("../key"), KEY).unwrap();
    project.run(&["exec", "--agent", &agent, "hi"]);
    assert!(project.path("seen").exists(), "the agent was not started as it was named");
    nothing_was_kept(&project, KEY);
}
