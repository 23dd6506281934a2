//! Pipeline files with mistakes that people make, and some that only an enemy makes.

/// One stage around which a whole file is written.
fn stage(body: &str) -> String {
    format!(
        "{{\n  \"pipelines\": [\n    {{\n      \"id\": \"p\",\n      \"stages\": [\n        {body}\n      ]\n    }}\n  ]\n}}\n"
    )
}

/// Files that must be refused, by what is wrong with them.
pub(crate) fn bad_files() -> Vec<(&'static str, String)> {
    let mut files: Vec<(&'static str, String)> = vec![
        ("empty file", String::new()),
        ("only a comment", "// nothing\n".to_owned()),
        ("broken JSON", "{ \"pipelines\": [ }".to_owned()),
        ("missing comma", "{ \"defaultPipeline\": \"a\" \"pipelines\": [] }".to_owned()),
        ("two values", "{ \"pipelines\": [] } []".to_owned()),
        ("single quotes", "{ 'pipelines': [] }".to_owned()),
        ("not an object", "[]".to_owned()),
        ("no pipelines", "{ \"defaultPipeline\": \"diagnostics\" }".to_owned()),
        ("pipelines of the wrong type", "{ \"pipelines\": {} }".to_owned()),
        ("unknown key of the file", "{ \"pipeline\": [], \"pipelines\": [] }".to_owned()),
        ("key twice", "{ \"pipelines\": [],\n  \"pipelines\": [] }".to_owned()),
        ("pipeline of the wrong type", "{ \"pipelines\": [ \"p\" ] }".to_owned()),
        ("pipeline without id", "{ \"pipelines\": [ { \"stages\": [ { \"id\": \"a\", \"command\": \"true\" } ] } ] }".to_owned()),
        ("no stages", "{ \"pipelines\": [ { \"id\": \"p\" } ] }".to_owned()),
        ("empty stages", "{ \"pipelines\": [ { \"id\": \"p\", \"stages\": [] } ] }".to_owned()),
        ("unknown default pipeline", "{ \"defaultPipeline\": \"relase\", \"pipelines\": [ { \"id\": \"release\", \"stages\": [ { \"id\": \"a\", \"command\": \"true\" } ] } ] }".to_owned()),
        ("default is the missing built-in", "{ \"defaultPipeline\": \"diagnostics\", \"pipelines\": [] }".to_owned()),
        ("duplicate pipeline ids", "{ \"pipelines\": [\n  { \"id\": \"p\", \"stages\": [ { \"id\": \"a\", \"command\": \"true\" } ] },\n  { \"id\": \"p\", \"stages\": [ { \"id\": \"a\", \"command\": \"true\" } ] }\n] }".to_owned()),
        ("pipelines in a circle", "{ \"pipelines\": [\n  { \"id\": \"a\", \"stages\": [ { \"kind\": \"pipeline\", \"id\": \"x\", \"pipeline\": \"b\" } ] },\n  { \"id\": \"b\", \"stages\": [ { \"kind\": \"subpipeline\", \"id\": \"y\", \"pipeline\": \"a\" } ] }\n] }".to_owned()),
    ];
    files.extend(bad_stages().map(|(name, body)| (name, stage(body))));
    let long = "s".repeat(60);
    files.push((
        "nesting that gives too long a run id",
        format!(
            "{{ \"pipelines\": [\n  {{ \"id\": \"a\", \"stages\": [ {{ \"kind\": \"pipeline\", \"id\": \"{long}\", \"pipeline\": \"b\" }} ] }},\n  \
             {{ \"id\": \"b\", \"stages\": [ {{ \"kind\": \"pipeline\", \"id\": \"{long}\", \"pipeline\": \"c\" }} ] }},\n  \
             {{ \"id\": \"c\", \"stages\": [ {{ \"id\": \"leaf\", \"command\": \"true\" }} ] }}\n] }}"
        ),
    ));
    files
        .push(("a very long id", stage(&format!(r#"{{ "id": "{}", "command": "true" }}"#, "x".repeat(300)))));
    files
}

fn bad_stages() -> [(&'static str, &'static str); 48] {
    [
        ("pipeline runs itself", r#"{ "kind": "pipeline", "id": "again", "pipeline": "p" }"#),
        ("unknown nested pipeline", r#"{ "kind": "pipeline", "id": "n", "pipeline": "q" }"#),
        ("unknown key of a stage", r#"{ "id": "a", "comand": "true" }"#),
        ("unknown key without a likeness", r#"{ "id": "a", "command": "true", "banana": 1 }"#),
        ("session of the wrong type", r#"{ "id": "a", "command": "true", "session": 1 }"#),
        ("session with a bad name", r#"{ "id": "a", "command": "true", "session": { "id": "../x" } }"#),
        ("terminal for a gate", r#"{ "kind": "gate", "id": "a", "message": "?", "tty": true }"#),
        ("unknown kind", r#"{ "kind": "comand", "id": "a", "command": "true" }"#),
        ("kind of the wrong type", r#"{ "kind": 1, "id": "a" }"#),
        ("no kind and no command", r#"{ "id": "a", "prompt": "Fix it." }"#),
        ("key of another kind", r#"{ "id": "a", "command": "true", "prompt": "Fix it." }"#),
        (
            "key in both spellings",
            r#"{ "id": "a", "command": "true", "allow_failure": true, "allowFailure": false }"#,
        ),
        ("stage without id", r#"{ "command": "true" }"#),
        ("stage id that leaves its folder", r#"{ "id": "../x", "command": "true" }"#),
        ("stage id with an invisible character", r#"{ "id": "a\u202eb", "command": "true" }"#),
        (
            "duplicate stage ids",
            "{ \"id\": \"a\", \"command\": \"true\" },\n        { \"id\": \"a\", \"command\": \"false\" }",
        ),
        ("blank command", r#"{ "id": "a", "command": "  " }"#),
        ("empty command list", r#"{ "id": "a", "command": [] }"#),
        ("command of the wrong type", r#"{ "id": "a", "command": 7 }"#),
        ("empty program", r#"{ "id": "a", "command": ["", "x"] }"#),
        ("NUL in a command", r#"{ "id": "a", "command": "echo \u0000" }"#),
        (
            "unknown need",
            "{ \"id\": \"build\", \"command\": \"true\" },\n        { \"id\": \"test\", \"command\": \"true\", \"needs\": [\"biuld\"] }",
        ),
        (
            "needs in a circle",
            "{ \"id\": \"a\", \"command\": \"true\", \"needs\": [\"b\"] },\n        { \"id\": \"b\", \"command\": \"true\" }",
        ),
        ("stage needs itself", r#"{ "id": "a", "command": "true", "needs": ["a"] }"#),
        (
            "need named twice",
            "{ \"id\": \"a\", \"command\": \"true\" },\n        { \"id\": \"b\", \"command\": \"true\", \"needs\": [\"a\", \"a\"] }",
        ),
        (
            "input of an unknown stage",
            r#"{ "id": "a", "command": "true", "inputs": { "log": "biuld.log" } }"#,
        ),
        ("input that is no reference", r#"{ "id": "a", "command": "true", "inputs": { "log": "log" } }"#),
        (
            "unknown output",
            "{ \"id\": \"a\", \"command\": \"true\", \"outputs\": { \"report\": \"r.txt\" } },\n        { \"id\": \"b\", \"command\": \"true\", \"inputs\": { \"in\": \"a.reprot\" } }",
        ),
        (
            "input of a stage that comes later",
            "{ \"id\": \"a\", \"command\": \"true\", \"inputs\": { \"in\": \"b.out\" } },\n        { \"id\": \"b\", \"command\": \"true\", \"outputs\": { \"out\": \"o\" } }",
        ),
        (
            "output that leaves the folder",
            r#"{ "id": "a", "command": "true", "outputs": { "o": "x/../../y" } }"#,
        ),
        ("absolute output", r#"{ "id": "a", "command": "true", "outputs": { "o": "/tmp/y" } }"#),
        ("variable name with an equals sign", r#"{ "id": "a", "command": "true", "env": { "A=B": "1" } }"#),
        ("variable that is a number", r#"{ "id": "a", "command": "true", "env": { "RETRIES": 3 } }"#),
        ("time-out without unit", r#"{ "id": "a", "command": "true", "timeout": "30" }"#),
        ("time-out that is a number", r#"{ "id": "a", "command": "true", "timeout": 30 }"#),
        ("time-out of zero", r#"{ "id": "a", "command": "true", "timeout": "0s" }"#),
        ("two time-outs", r#"{ "id": "a", "command": "true", "timeout": "1s", "timeoutMs": 1000 }"#),
        (
            "retry on a gate",
            r#"{ "kind": "gate", "id": "g", "message": "Go?", "retry": { "max_attempts": 2 } }"#,
        ),
        (
            "retry on a nested pipeline",
            r#"{ "kind": "pipeline", "id": "n", "pipeline": "p", "retry": { "max_attempts": 2 } }"#,
        ),
        ("retry without end", r#"{ "id": "a", "command": "true", "retry": { "maxAttempts": 1000000 } }"#),
        (
            "retry on success",
            r#"{ "id": "a", "command": "true", "retry": { "maxAttempts": 2, "on": { "exitCodes": [0] } } }"#,
        ),
        ("agent without prompt", r#"{ "kind": "agent", "id": "a", "agent": "codex" }"#),
        ("unknown agent", r#"{ "kind": "agent", "id": "a", "agent": "codx", "prompt": "Fix it." }"#),
        ("acp without a command", r#"{ "kind": "agent", "id": "a", "agent": "acp: ", "prompt": "Fix it." }"#),
        ("unknown role", r#"{ "id": "a", "command": "true", "role": "bilder" }"#),
        ("null", r#"{ "id": "a", "command": "true", "cwd": null }"#),
        (
            "ids that differ only in case",
            "{ \"id\": \"a\", \"command\": \"true\" },\n        { \"id\": \"A\", \"command\": \"true\" }",
        ),
        (
            "alias of two stages",
            "{ \"id\": \"a\", \"command\": \"true\", \"plan\": { \"aliases\": [\"B\"] } },\n        { \"id\": \"b\", \"command\": \"true\" }",
        ),
    ]
}

/// Files that must load, using every key once.
pub(crate) const GOOD_FILE: &str = r#"// comments and trailing commas are allowed
{
  "$schema": "./.codex-orchestrator/pipeline.schema.json",
  "default_pipeline": "main",
  "pipelines": [
    {
      "id": "main", "title": "Main", "description": "", "tags": ["ci"],
      "guardrails_required": true, "max_parallel": 4,
      "stages": [
        { "id": "plan", "command": "echo plan", "role": "planner", "needs": [], "outputs": { "list": "plan/list.txt" },
          "plan": { "aliases": ["first"], "primary": true, "runnable": true, "executionMode": "cloud" } },
        { "kind": "command", "id": "build", "title": "Build", "command": ["make", "", "a b"], "cwd": "sub",
          "env": { "A": "", "B_1": "x=y" }, "timeout": "1.5s", "needs": ["plan"], "when": "always",
          "retry": { "max_attempts": 3, "backoff": "0s", "on": { "exit_codes": [75, 1] } },
          "inputs": { "list-file": "plan.list" }, "summary_hint": "built", "requires_cloud": false,
          "execution_mode": "cloud", "capabilities": ["gpu"], "allow_failure": true },
        { "kind": "agent", "id": "fix", "agent": "codex", "prompt": "Fix {{ task.id }}", "model": "m",
          "sandbox": "workspace-write", "profile": "p", "arguments": ["--search"], "timeoutMs": 60000,
          "role": "builder", "when": "failure", "retry": { "maxAttempts": 2, "on": { "timedOut": true } } },
        { "kind": "agent", "id": "other", "agent": "acp:gemini --acp", "prompt": "Fix {{ task.id }}" },
        { "kind": "agent", "id": "review", "agent": "claude", "promptFile": "prompts/review.md", "role": "tester", "requiresCloud": true },
        { "kind": "gate", "id": "ask", "message": "Ship?", "expires": "90m", "allowFailure": true },
        { "kind": "subpipeline", "id": "more", "pipeline": "rest", "optional": true, "role": "reviewer" },
        { "id": "evidence", "command": "node scripts/spec-guard.mjs", "tty": true, "session": { "id": "s", "reuse": false, "persist": true }, },
      ],
    },
    { "id": "rest", "stages": [ { "id": "only", "command": "true", "guardrail": true, "mode": "mcp" } ] },
  ],
}
"#;
