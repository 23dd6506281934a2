//! Mistakes: what is wrong, where, and what to do; and nothing is written.

use std::os::unix::fs::PermissionsExt as _;

use crate::commands::Workshop;
use crate::support::Project;

#[track_caller]
fn nothing_written(project: &Project) {
    assert!(!project.path(".runs").exists(), ".runs was made");
    assert!(!project.path("out").exists(), "out was made");
}

#[test]
fn a_broken_file_is_shown_with_place_and_caret() {
    let project = Workshop::bare();
    project.repository().write(
        "codex.orchestrator.json",
        "{ \"pipelines\": [\n  { \"id\": \"m\", \"stages\": [{ \"id\": \"a\" \"command\": \"x\" }] }\n] }\n",
    );
    for command in ["plan", "start"] {
        let ended = project.run(&[command]).expect(3);
        assert!(ended.stderr.contains("codex.orchestrator.json:2:"), "{}", ended.stderr);
        assert!(ended.stderr.contains('^'), "{}", ended.stderr);
        assert_eq!(ended.stdout, "");
    }
    nothing_written(&project);
}

#[test]
fn mistakes_in_a_file_are_all_told_at_once() {
    let project = Workshop::with_stages(
        r#"[{ "id": "a", "comand": "x" }, { "id": "b", "kind": "comand", "command": "x" }, { "id": "b", "command": "x" },
            { "id": "d", "command": "x", "needs": ["nobody"] }]"#,
    );
    let ended = project.run(&["plan"]).expect(3);
    for part in ["unknown key `comand`", "did you mean `command`?", "declared twice", "nobody"] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
    nothing_written(&project);
}

#[test]
fn empty_stages_are_refused() {
    let project = Workshop::with_stages("[]");
    let ended = project.run(&["start"]).expect(3);
    assert!(ended.stderr.contains("`stages` of pipeline `main` is empty"), "{}", ended.stderr);
    nothing_written(&project);
}

#[test]
fn an_unknown_pipeline_is_answered_with_a_near_one() {
    let project = Workshop::with_stages(r#"[{ "id": "a", "command": "true" }]"#);
    for command in ["plan", "start"] {
        let ended = project.run(&[command, "mian"]).expect(2);
        assert!(ended.stderr.contains("did you mean `main`?"), "{}", ended.stderr);
    }
    nothing_written(&project);
}

#[test]
fn a_missing_working_directory_is_the_stages_failure_and_named() {
    let project = Workshop::with_stages(r#"[{ "id": "a", "command": "true", "cwd": "nowhere" }]"#);
    let ended = project.run(&["start", "--json"]).expect(10);
    assert!(
        ended.json()["summary"].as_str().unwrap().contains("nowhere` does not exist"),
        "{}",
        ended.stdout
    );
    assert_eq!(ended.json()["status_detail"], "stage:a:not-started");
}

#[test]
fn ids_that_could_leave_their_folder_are_refused() {
    let mut project = Workshop::with_stages(r#"[{ "id": "a", "command": "true" }]"#);
    let long = "a".repeat(300);
    for id in
        ["../x", "a/b", "..", ".hidden", "a\nb", "a\u{1b}[31mb", "-x", "con:x", "a b ", long.as_str(), ""]
    {
        let task = format!("--task={id}");
        let run = format!("--run={id}");
        for arguments in [
            vec!["start", &task],
            vec!["runs", &task],
            vec!["status", &run],
            vec!["resume", &run],
            vec!["logs", &run],
            vec!["cancel", &run],
        ] {
            let ended = project.run(&arguments);
            assert_eq!(ended.code(), 2, "{arguments:?}: {ended:#?}");
            assert!(!ended.stderr.contains('\u{1b}'), "{:?}", ended.stderr);
        }
    }
    nothing_written(&project);
    project.set("MCP_RUNNER_TASK_ID", "../../etc");
    let ended = project.run(&["start"]).expect(2);
    assert!(ended.stderr.contains("MCP_RUNNER_TASK_ID"), "{}", ended.stderr);
    nothing_written(&project);
}

#[test]
fn folders_that_cannot_hold_runs_are_refused_with_a_next_step() {
    let project = Workshop::with_stages(r#"[{ "id": "a", "command": "true" }]"#);
    std::fs::write(project.path("file"), "").unwrap();
    for folder in ["file", "file/x", "/proc/x", "/sys/x"] {
        let ended = project.run(&["start", "--runs-dir", folder]).expect(3);
        assert!(ended.stderr.contains(folder) && ended.stderr.contains("--runs-dir"), "{}", ended.stderr);
        project.run(&["doctor", "--runs-dir", folder]);
    }
    let ended = project.run(&["start", "--out-dir", "file/x"]).expect(3);
    assert!(ended.stderr.contains("file/x"), "{}", ended.stderr);
}

#[test]
fn a_root_that_does_not_exist_is_refused() {
    let project = Workshop::with_stages(r#"[{ "id": "a", "command": "true" }]"#);
    for command in ["start", "plan", "status", "runs", "doctor"] {
        let ended = project.run(&[command, "--root", "nowhere"]).expect(2);
        assert!(ended.stderr.contains("nowhere` (from --root) is not a directory"), "{}", ended.stderr);
    }
}

#[test]
fn an_event_log_that_is_none_is_refused_and_left_alone() {
    let project =
        Project::with_pipelines(r#"[{ "id": "main", "stages": [{ "id": "a", "command": "true" }] }]"#);
    let database = project.path("d/orchestrator.db");
    std::fs::create_dir_all(&database).unwrap();
    let folder = project.run(&["start", "--runs-dir", "d"]).expect(3);
    assert!(folder.stderr.contains("it is not a file"), "{}", folder.stderr);
    let doctor = project.run(&["doctor", "--runs-dir", "d"]).expect(3);
    assert!(doctor.stdout.contains("it is not a file"), "{}", doctor.stdout);
    std::fs::remove_dir(&database).unwrap();

    let noise = vec![0xa5; 8192];
    std::fs::write(&database, &noise).unwrap();
    for command in ["start", "status", "runs", "recover"] {
        let ended = project.run(&[command, "--runs-dir", "d"]).expect(13);
        assert!(ended.stderr.contains("is damaged"), "{}", ended.stderr);
        assert!(ended.stderr.contains("hint:"), "{}", ended.stderr);
    }
    project.run(&["doctor", "--runs-dir", "d"]).expect(3);
    assert!(std::fs::read(&database).unwrap() == noise, "it is left as it was");
}

#[test]
fn an_empty_file_becomes_an_event_log() {
    let project = Workshop::with_stages(r#"[{ "id": "a", "command": "true" }]"#);
    project.repository().write(".runs/orchestrator.db", "");
    project.run(&["start"]).expect(0);
    project.run(&["status"]).expect(0);
}

#[test]
fn an_event_log_of_a_newer_version_is_not_touched() {
    let project =
        Project::with_pipelines(r#"[{ "id": "main", "stages": [{ "id": "a", "command": "true" }] }]"#);
    project.run(&["start"]).expect(0);
    let database = project.path(".runs/orchestrator.db");
    // What the journal holds would win over the header.
    for leftover in ["-wal", "-shm"] {
        drop(std::fs::remove_file(project.path(&format!(".runs/orchestrator.db{leftover}"))));
    }
    // The version is the header's `user_version`, big-endian, at offset 60.
    let mut bytes = std::fs::read(&database).unwrap();
    bytes[60..64].copy_from_slice(&9_999_u32.to_be_bytes());
    std::fs::write(&database, &bytes).unwrap();
    let ended = project.run(&["status"]).expect(13);
    assert!(ended.stderr.contains("newer"), "{}", ended.stderr);
}

#[test]
fn an_unreadable_file_is_named() {
    let project =
        Project::with_pipelines(r#"[{ "id": "main", "stages": [{ "id": "a", "command": "true" }] }]"#);
    let file = project.path("codex.orchestrator.json");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o000)).unwrap();
    if std::fs::read(&file).is_ok() {
        // The superuser reads everything; a folder in the file's place is unreadable to all.
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
    }
    let ended = project.run(&["start"]).expect(3);
    assert!(ended.stderr.contains("codex.orchestrator.json"), "{}", ended.stderr);
    nothing_written(&project);
}

#[test]
fn flags_and_intervals_are_checked() {
    let project = Workshop::with_stages(r#"[{ "id": "a", "command": "true" }]"#);
    for interval in ["abc", "0", "-1", "1ms"] {
        let ended = project.run(&["status", "--watch", &format!("--interval={interval}")]).expect(2);
        assert!(ended.stderr.contains("--interval"), "{}", ended.stderr);
    }
    for arguments in [
        vec!["start", "--bogus"],
        vec!["strat"],
        vec![],
        vec!["runs", "--limit", "0"],
        vec!["runs", "--status", "done"],
        vec!["start", "--format", "yaml"],
        vec!["start", "--json", "--format", "text"],
        vec!["answer", "--run", "x", "maybe"],
        vec!["logs", "--attempt", "1"],
        vec!["schema", "nothing"],
        vec!["completions", "tcsh"],
    ] {
        let ended = project.run(&arguments).expect(2);
        assert_eq!(ended.stdout, "", "{arguments:?}");
        assert!(!ended.stderr.is_empty());
    }
    nothing_written(&project);
}

#[test]
fn without_a_home_and_without_git_everything_works() {
    let folder = tempfile::tempdir().unwrap();
    let project = Workshop::with_stages(r#"[{ "id": "a", "command": "echo fine" }]"#);
    std::fs::copy(project.path("codex.orchestrator.json"), folder.path().join("codex.orchestrator.json"))
        .unwrap();
    for arguments in [vec!["start"], vec!["status"], vec!["logs"], vec!["runs"], vec!["doctor"], vec!["plan"]]
    {
        let output =
            project.command(&arguments).env_remove("HOME").current_dir(folder.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:#?}");
    }
    let output = project.command(&["start", "--worktree"]).current_dir(folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("is not in a git repository"), "{output:?}");
}
