//! `exec`: commands, agents, and the unmodified SDK of Codex in front of us.

mod codex_sdk;

use co_testkit::Step;
use serde_json::{Value, json};

use crate::agents::Bench;
use crate::support::Project;

/// The lines of a JSON stream.
#[track_caller]
fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// Every run there is, newest first.
fn runs(project: &Project) -> Vec<Value> {
    project.run(&["runs", "--all", "--json"]).expect(0).json().as_array().expect("a list").clone()
}

#[test]
fn standard_output_is_the_commands_own_and_so_is_the_exit_code() {
    let project = Project::empty();
    let ended = project.run(&["exec", "--", "sh", "-c", "printf 'a\\0b'; echo no >&2; exit 7"]).expect(7);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("a\0b", "no\n"));
    let runs = runs(&project);
    assert_eq!(runs.len(), 1);
    let manifest = project.manifest(runs[0]["run_id"].as_str().unwrap());
    assert_eq!(
        (&manifest["pipeline_id"], &manifest["status"]),
        (&json!("exec"), &json!("failed")),
        "{manifest:#}"
    );
    assert_eq!(manifest["commands"][0]["id"], "exec");
    // Options after the command are the command's.
    assert_eq!(
        project.run(&["exec", "echo", "--json", "-x", "resume"]).expect(0).stdout,
        "--json -x resume\n"
    );
}

#[test]
fn ends_without_an_exit_code_get_that_of_a_shell_or_ours() {
    let project = Project::empty();
    let ended = project.run(&["exec", "no-such-program-anywhere", "-x"]).expect(127);
    assert!(ended.stderr.contains("no-such-program-anywhere"), "{ended:?}");
    project.repository().write("plain.txt", "no program\n");
    project.run(&["exec", "./plain.txt"]).expect(126);
    project.run(&["exec", "--", "sh", "-c", "kill -TERM $$"]).expect(143);
    project.run(&["exec", "--timeout", "200ms", "sleep", "600"]).expect(12);
    project.run(&["exec", "true"]).expect(0);
}

#[test]
fn a_run_of_no_file_is_resumed_and_retried_from_its_record() {
    let project = Project::empty();
    let line = ["sh", "-c", "echo x >> times; test -e go"];
    let run = project.run(&[&["exec", "--json", "--"][..], &line].concat()).expect(1).json();
    let run = run["run_id"].as_str().unwrap();
    let advised = project.run(&["status", "--run", run]).expect(0).stdout;
    assert!(advised.contains(&format!("resume --run {run}")), "{advised}");
    // Whoever has the wrong token learns nothing else, and it is on record.
    project.run(&["resume", "--run", run, "--token", "wrong"]).expect(11);
    assert_eq!(project.manifest(run)["resume_events"][0]["outcome"], "blocked");
    project.run(&["resume", "--run", run]).expect(10);
    project.repository().write("go", "");
    project.run(&["resume", "--run", run]).expect(0);
    let again = project.run(&["retry", "--run", run, "--json"]).expect(0).run_id();
    assert_eq!(std::fs::read_to_string(project.path("times")).unwrap(), "x\n".repeat(4));
    let manifest = project.manifest(&again);
    assert_eq!(manifest["commands"][0]["command"], project.manifest(run)["commands"][0]["command"]);
}

#[test]
fn it_works_where_one_stands_or_is_told() {
    let project = Project::empty();
    project.repository().write("below/here.txt", "here\n");
    let mut command = project.command(&["exec", "cat", "here.txt"]);
    let output = command.current_dir(project.path("below")).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "here\n", "{output:?}");
    for option in ["--cwd", "--cd", "-C"] {
        assert_eq!(project.run(&["exec", option, "below", "cat", "here.txt"]).expect(0).stdout, "here\n");
    }
    let ended = project.run(&["exec", "--cwd", "nowhere", "true"]).expect(2);
    assert!(ended.stderr.contains("nowhere"), "{ended:?}");
}

#[test]
fn one_object_tells_everything_at_the_end() {
    let project = Project::empty();
    let ended = project
        .run(&["exec", "--json", "--task", "t-1", "sh", "-c", "echo out; echo err >&2; exit 3"])
        .expect(3);
    let result = ended.json();
    assert_eq!(ended.stderr, "");
    let told = |name: &str| result[name].clone();
    assert_eq!(
        (told("exit_code"), told("status"), told("task_id")),
        (json!(3), json!("failed"), json!("t-1"))
    );
    assert_eq!((told("stdout"), told("stderr")), (json!("out\n"), json!("err\n")));
    assert_eq!(told("exit")["kind"], "code");
    assert_eq!(told("command"), json!(["sh", "-c", "echo out; echo err >&2; exit 3"]));
    assert_eq!(told("output_bytes"), json!({"stdout": 4, "stderr": 4}));
    let schema = project.run(&["schema", "exec"]).expect(0).json();
    let violations: Vec<String> = jsonschema::validator_for(&schema)
        .unwrap()
        .iter_errors(&result)
        .map(|error| error.to_string())
        .collect();
    assert!(violations.is_empty(), "{violations:?}");
}

#[test]
fn lines_tell_events_output_and_the_result_in_order() {
    let project = Project::empty();
    let ended =
        project.run(&["exec", "--jsonl", "sh", "-c", "echo one; echo two >&2; printf 'drei\\377'"]).expect(0);
    let lines = lines(&ended.stdout);
    let types: Vec<&str> = lines.iter().map(|line| line["type"].as_str().unwrap()).collect();
    assert_eq!((types[0], types[types.len() - 1]), ("run_created", "result"), "{types:?}");
    let place = |name: &str| {
        types.iter().position(|kind| *kind == name).unwrap_or_else(|| panic!("{name}: {types:?}"))
    };
    let last_output = types.iter().rposition(|kind| *kind == "output").expect("output");
    assert!(
        place("attempt_starting") < place("output") && last_output < place("attempt_finished"),
        "{types:?}"
    );
    let told = |stream: &str| -> Vec<u8> {
        let of_stream = lines.iter().filter(|line| line["type"] == "output" && line["stream"] == stream);
        let bytes = |line: &Value| match line["text"].as_str() {
            Some(text) => text.as_bytes().to_vec(),
            None => serde_json::from_value(line["bytes"].clone()).expect("bytes"),
        };
        of_stream.flat_map(bytes).collect()
    };
    assert_eq!((told("stdout"), told("stderr")), (b"one\ndrei\xff".to_vec(), b"two\n".to_vec()));
    assert_eq!(lines.last().unwrap()["data"]["exit_code"], 0);
    assert_eq!(
        project.run(&["exec", "--format", "jsonl", "true"]).expect(0).stdout.lines().count(),
        types.len() - types.iter().filter(|kind| **kind == "output").count()
    );
}

const SCHEMA: &str =
    r#"{"type": "object", "required": ["answer"], "properties": {"answer": {"type": "integer"}}}"#;

#[test]
fn an_output_is_held_against_a_schema() {
    let project = Project::empty();
    project.repository().write("schema.json", SCHEMA);
    let exec = |text: &str, code: i32| {
        project
            .run(&["exec", "--json", "--output-schema", "schema.json", "-o", "last.txt", "echo", text])
            .expect(code)
    };
    let good = exec(r#"{"answer": 42}"#, 0).json();
    assert_eq!(good["structured_output"], json!({"answer": 42}));
    assert_eq!(std::fs::read_to_string(project.path("last.txt")).unwrap(), "{\"answer\": 42}\n");

    let bad = exec(r#"{"answer": "many"}"#, 10);
    assert!(bad.stderr.contains("/answer"), "{bad:?}");
    assert_eq!(bad.json()["schema_violation"]["instance_path"], "/answer");
    assert_eq!(bad.json()["exit_code"], 10);
    assert_eq!(std::fs::read_to_string(project.path("last.txt")).unwrap(), "");
    assert!(exec("no JSON", 10).stderr.contains("no JSON"));

    let before = runs(&project).len();
    project.repository().write("broken.json", "{");
    project.repository().write("no-schema.json", r#"{"type": "nonsense"}"#);
    for schema in ["missing.json", "broken.json", "no-schema.json"] {
        let ended = project.run(&["exec", "--output-schema", schema, "true"]).expect(2);
        assert!(ended.stderr.contains(schema), "{ended:?}");
    }
    assert_eq!(runs(&project).len(), before, "nothing was started");
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_starts() {
    let project = Project::empty();
    let refused: &[&[&str]] = &[
        &["exec"],
        &["exec", "--json", "--jsonl", "true"],
        &["exec", "--jsonl=codex", "--agent", "claude", "hello"],
        &["exec", "--agent", "codex"],
        &["exec", "--full-auto", "--sandbox", "read-only", "true"],
        &["exec", "--agent", "bogus", "hi"],
        &["exec", "--agent", "acp:", "hi"],
        &["exec", "--jsonl=codex", "--", "echo", "hi"],
        &["exec", "--jsonl=codex", "hi"],
        &["exec", "--experimental-json", "--", "echo", "hi"],
        &["exec", "-m", "gpt", "--", "true"],
        &["exec", "--add-dir", "/nonexistent", "true"],
        &["exec", "-c", "a=b", "true"],
        &["exec", "-i", "none.png", "true"],
        &["exec", "--ephemeral", "true"],
        &["exec", "--skip-git-repo-check", "true"],
        &["exec", "--no-such-option", "true"],
    ];
    for arguments in refused {
        let ended = project.run(arguments).expect(2);
        assert!(ended.stdout.is_empty() && !ended.stderr.is_empty(), "{arguments:?}: {ended:?}");
    }
    assert!(project.run(&["exec", "--ephemeral", "true"]).stderr.contains("`--ephemeral` is for an agent"));
    assert!(runs(&project).is_empty());
}

#[test]
fn what_cannot_be_recorded_or_written_is_refused_before_anything_starts() {
    use std::os::unix::ffi::OsStrExt as _;
    let project = Project::empty();
    project.run(&["exec", "true"]).expect(0);
    for path in ["/no/such/folder/last", "/"] {
        let ended = project.run(&["exec", "-o", path, "touch", "ran"]).expect(3);
        assert!(ended.stderr.contains(&format!("failed to write `{path}`")), "{ended:?}");
    }
    // What is there stays until there is something to replace it with.
    project.repository().write("last", "before");
    let script = "cat last; exit 5";
    assert_eq!(project.run(&["exec", "-o", "last", "--", "sh", "-c", script]).expect(5).stdout, "before");
    let gone = project.run(&["exec", "-o", "in/last", "--", "sh", "-c", "true"]).expect(3);
    assert!(gone.stderr.contains("in/last"), "{gone:?}");
    std::fs::create_dir(project.path("in")).unwrap();
    let vanishing = ["exec", "-o", "in/last", "--", "sh", "-c", "rm -r in; exit 6"];
    assert!(project.run(&vanishing).expect(6).stderr.contains("failed to write"));
    let before = runs(&project).len();
    let odd = project.root().join(std::ffi::OsStr::from_bytes(b"d\xff"));
    std::fs::create_dir(&odd).unwrap();
    let output = project.command(&["exec", "touch", "ran"]).current_dir(&odd).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && told.contains("is no UTF-8"), "{output:?}");
    assert!(runs(&project).len() == before && !project.path("ran").exists());
}

#[test]
fn full_auto_is_recorded_under_its_own_name_and_never_stays() {
    let mut project = Project::empty();
    let home = project.path("../codex-home");
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(home.join("config.toml"), "sandbox_mode = \"read-only\"").unwrap();
    project.set("CODEX_HOME", home);
    let policy = |arguments: &[&str]| {
        project.run(&[&["exec", "--full-auto"], arguments, &["--", "touch", "made"]].concat()).expect(0);
        let run = runs(&project)[0]["run_id"].as_str().unwrap().to_owned();
        project.manifest(&run)
    };
    let manifest = policy(&[]);
    let text = manifest.to_string();
    assert!(text.contains("flag --full-auto") && !text.contains("flag --sandbox"), "{manifest:#}");
    assert_eq!(manifest["approval_policy"], "on-request");
    assert_eq!(policy(&["--approval-policy", "never"])["approval_policy"], "never");
}

#[test]
fn an_agent_answers_and_its_conversation_goes_on() {
    let bench = Bench::new(
        "[]",
        [Step::message("First {{ answer }}."), Step::message("Second answer."), Step::message("Third.")],
    );
    let project = &bench.project;
    let first = project.run(&["exec", "--agent", "codex", "What is {{ this }}?"]).expect(0);
    assert_eq!(first.stdout, "First {{ answer }}.\n");
    let run = runs(project)[0]["run_id"].as_str().unwrap().to_owned();

    let second = project.run(&["exec", "--json", "resume", &run, "Go on."]).expect(0).json();
    assert_eq!(
        (&second["last_message"], &second["agent"]),
        (&json!("Second answer."), &json!("codex")),
        "{second:#}"
    );
    let thread = second["thread_id"].as_str().expect("a thread").to_owned();
    project.run(&["exec", "-o", "last.txt", "resume", &thread, "And on."]).expect(0);
    assert_eq!(std::fs::read_to_string(project.path("last.txt")).unwrap(), "Third.");

    let requests = bench.requests();
    assert!(requests[0].input_contains("What is {{ this }}?"), "a prompt is no template");
    assert!(requests[2].input_contains("Go on.") && requests[2].input_contains("First {{ answer }}."));
    for request in &requests {
        assert_eq!(request.headers["thread-id"], thread.as_str());
    }
}

#[test]
fn an_agent_that_fails_gives_a_failing_exit_code_and_its_answer_is_held_against_the_schema() {
    let bench = Bench::new("[]", [Step::message(r#"{"answer": []}"#), Step::usage_limit()]);
    let project = &bench.project;
    project.repository().write("schema.json", SCHEMA);
    let ended =
        project.run(&["exec", "--agent", "codex", "--output-schema", "schema.json", "Answer."]).expect(10);
    assert!(ended.stderr.contains("/answer"), "{ended:?}");
    assert_eq!(bench.requests()[0].body["text"]["format"]["schema"]["required"], json!(["answer"]));
    let ended = project.run(&["exec", "--agent", "codex", "Again."]).expect(10);
    assert!(ended.stdout.is_empty() && !ended.stderr.is_empty(), "{ended:?}");
}
