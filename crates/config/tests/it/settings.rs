//! Settings come from the highest layer that says something, and say which it was.

use std::error::Error as _;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::time::Duration;

use co_config::{Environment, Flags, Settings, SettingsError, Source};

use crate::{bare, repository, write};

fn environment(root: &Path, variables: &[(&str, &str)]) -> Environment {
    Environment::new(root, variables.iter().copied())
}

fn refused(root: &Path, variables: &[(&str, &str)]) -> String {
    let error = Settings::resolve(&Flags::default(), &environment(root, variables)).unwrap_err();
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}").replace(&root.display().to_string(), "R")
}

#[test]
fn defaults_need_nothing() {
    let root = repository(&[]);
    let settings = Settings::resolve(&Flags::default(), &bare(root.path())).unwrap();
    assert_eq!(settings.root.value, root.path());
    assert_eq!(settings.runs_dir.value, root.path().join(".runs"));
    assert_eq!(settings.out_dir.value, root.path().join("out"));
    assert_eq!(settings.task.value.as_str(), "local");
    assert_eq!(settings.target.value, None);
    assert_eq!(settings.heartbeat_interval.value, Duration::from_secs(5));
    assert_eq!(settings.stale_after.value, Duration::from_secs(30));
    assert!(!settings.require_resume_token.value);
    assert_eq!(settings.actor.value.as_str(), "cli");
    assert!(settings.explain().iter().all(|row| row.source == Source::Default));
}

#[test]
fn each_layer_wins_over_the_one_below() {
    let root = repository(&[]);
    let home = repository(&[]);
    let file = home.path().join("codex-orchestrator/config.toml");
    write(
        home.path(),
        "codex-orchestrator/config.toml",
        "# mine\nruns_dir = \"runs\"\nactor = \"file\"\nstale_after = \"1m\"\n",
    );
    let config_home = home.path().to_str().unwrap();
    let variables = [
        ("XDG_CONFIG_HOME", config_home),
        ("USER", "login"),
        ("MCP_RUNNER_TASK_ID", "0101"),
        ("CODEX_ORCHESTRATOR_OUT_DIR", ""),
        ("CODEX_ORCHESTRATOR_TARGET_STAGE", "test"),
        ("CODEX_ORCHESTRATOR_REQUIRE_RESUME_TOKEN", "1"),
    ];
    let flags = Flags { task: Some("from-flag".into()), ..Flags::default() };
    let settings = Settings::resolve(&flags, &environment(root.path(), &variables)).unwrap();
    assert_eq!(settings.runs_dir.value, root.path().join("runs"));
    assert_eq!(settings.runs_dir.source, Source::UserFile { path: file.clone(), line: 2 });
    assert_eq!(
        (settings.task.value.as_str(), &settings.task.source),
        ("from-flag", &Source::Flag { name: "--task" })
    );
    assert_eq!(settings.out_dir.source, Source::Default, "an empty variable counts as unset");
    assert_eq!(settings.actor.value.as_str(), "file", "a login name is weaker than the file");
    assert_eq!(settings.target.value.as_deref(), Some("test"));
    assert!(settings.require_resume_token.value);

    let rows: Vec<String> = settings
        .explain()
        .into_iter()
        .map(|row| format!("{} = {} ({})", row.name, row.value.unwrap_or_default(), row.source))
        .map(|row| row.replace(&root.path().display().to_string(), "R").replace(config_home, "H"))
        .collect();
    assert_eq!(
        rows,
        [
            "root = R (default)",
            "runs_dir = R/runs (H/codex-orchestrator/config.toml:2)",
            "out_dir = R/out (default)",
            "task = from-flag (--task)",
            "target = test (CODEX_ORCHESTRATOR_TARGET_STAGE)",
            "heartbeat_interval = 5.0s (default)",
            "stale_after = 1m 00s (H/codex-orchestrator/config.toml:4)",
            "require_resume_token = true (CODEX_ORCHESTRATOR_REQUIRE_RESUME_TOKEN)",
            "codex = codex (default)",
            "actor = file (H/codex-orchestrator/config.toml:3)",
            "mcp_servers =  (default)",
            "session =  (default)",
            "privacy_guard =  (default)",
            "secret_variables =  (default)",
        ]
    );
}

#[test]
fn paths_are_taken_from_where_they_are_said() {
    let outer = repository(&[("repo/keep", "")]);
    let variables = [
        ("CODEX_ORCHESTRATOR_ROOT", "repo"),
        ("CODEX_ORCHESTRATOR_RUNS_DIR", "../alt"),
        ("CODEX_ORCHESTRATOR_CODEX", "codex-nightly"),
    ];
    let settings = Settings::resolve(&Flags::default(), &environment(outer.path(), &variables)).unwrap();
    assert_eq!(settings.root.value, outer.path().join("repo"));
    assert_eq!(settings.runs_dir.value, outer.path().join("repo/../alt"));
    assert_eq!(
        settings.codex.value.as_deref(),
        Some(Path::new("codex-nightly")),
        "a name is looked up on PATH"
    );

    let flags = Flags { root: Some(outer.path().into()), ..Flags::default() };
    assert_eq!(
        Settings::resolve(&flags, &environment(Path::new("/"), &[])).unwrap().root.value,
        outer.path()
    );
}

#[test]
fn bad_values_name_their_source() {
    let root = repository(&[]);
    let refused = |variables: &[(&str, &str)]| refused(root.path(), variables);
    assert_eq!(
        refused(&[("MCP_RUNNER_TASK_ID", "../x")]),
        "invalid MCP_RUNNER_TASK_ID \"../x\": task id `../x` contains '/', which is not allowed"
    );
    assert_eq!(
        refused(&[("CODEX_ORCHESTRATOR_STALE_AFTER", "soon")]),
        "invalid CODEX_ORCHESTRATOR_STALE_AFTER \"soon\" for `stale_after`: `soon` is not a duration; \
         write a number with a unit, as in `500ms`, `1.5s`, `10m` or `2h`"
    );
    assert_eq!(
        refused(&[("CODEX_ORCHESTRATOR_HEARTBEAT_INTERVAL", "20s")]),
        "`stale_after` (30.0s, from default) must be at least twice `heartbeat_interval` \
         (20.0s, from CODEX_ORCHESTRATOR_HEARTBEAT_INTERVAL)"
    );
    assert_eq!(
        refused(&[("CODEX_ORCHESTRATOR_HEARTBEAT_INTERVAL", "0s")]),
        "invalid CODEX_ORCHESTRATOR_HEARTBEAT_INTERVAL \"0s\" for `heartbeat_interval`: it must be at least 100ms"
    );
    assert_eq!(
        refused(&[("CODEX_ORCHESTRATOR_REQUIRE_RESUME_TOKEN", "maybe")]),
        "invalid CODEX_ORCHESTRATOR_REQUIRE_RESUME_TOKEN \"maybe\" for `require_resume_token`: write `true` or `false`"
    );
    assert_eq!(
        refused(&[("CODEX_ORCHESTRATOR_ROOT", "nowhere")]),
        "root `R/nowhere` (from CODEX_ORCHESTRATOR_ROOT) is not a directory"
    );
    let flags = Flags { target: Some(OsString::new()), ..Flags::default() };
    let error = Settings::resolve(&flags, &bare(root.path())).unwrap_err();
    assert_eq!(error.to_string(), "--target is empty");
    let bytes = [("MCP_RUNNER_TASK_ID", OsString::from_vec(vec![0xff]))];
    let error = Settings::resolve(&Flags::default(), &Environment::new(root.path(), bytes)).unwrap_err();
    assert_eq!(error.to_string(), "invalid MCP_RUNNER_TASK_ID for `task`: it is not valid Unicode");
    let error = Settings::resolve(&Flags::default(), &Environment::default()).unwrap_err();
    assert!(matches!(error, SettingsError::NoWorkingDirectory));
}

#[test]
fn mistakes_in_the_users_file_have_their_place() {
    let root = repository(&[]);
    let home = repository(&[]);
    let variables = [("HOME", home.path().to_str().unwrap())];
    let message = |text: &str| {
        write(home.path(), ".config/codex-orchestrator/config.toml", text);
        refused(root.path(), &variables).replace(&home.path().display().to_string(), "H")
    };
    let file = "H/.config/codex-orchestrator/config.toml";
    assert_eq!(
        message("runs_dir = \"x\"\nstale_afer = \"1m\"\ntask = \"x\"\nactor = 1\n"),
        format!(
            "3 problems in the user's file `{file}`\n\n\
             {file}:2:1: unknown key `stale_afer`\n    2 | stale_afer = \"1m\"\n      | ^^^^^^^^^^\n  hint: did you mean `stale_after`?\n\n\
             {file}:3:1: unknown key `task`\n    3 | task = \"x\"\n      | ^^^^\n  hint: it belongs to one invocation: use the flag or the environment variable\n\n\
             {file}:4:9: `actor` must be a string, not of type integer\n    4 | actor = 1\n      |         ^"
        )
    );
    assert!(
        message("runs_dir = ").starts_with(&format!("1 problem in the user's file `{file}`\n\n{file}:1:"))
    );
    assert_eq!(
        message("# mine\nheartbeat_interval = \"5\"\n").lines().next(),
        Some(
            "invalid H/.config/codex-orchestrator/config.toml:2 \"5\" for `heartbeat_interval`: `5` is not a duration; write a number with a unit, as in `500ms`, `1.5s`, `10m` or `2h`"
        )
    );
}

#[test]
fn the_captured_environment_is_the_processes_own() {
    let captured = Environment::capture();
    assert_eq!(captured.current_directory(), std::env::current_dir().ok().as_deref());
    assert_eq!(captured.variables().count(), std::env::vars_os().count());
}
