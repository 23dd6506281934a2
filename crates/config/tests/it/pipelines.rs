//! What a good file becomes.

use std::num::NonZeroU32;
use std::time::Duration;

use co_config::{Loaded, SelectError, load};
use co_model::{
    CommandLine, ExecutionMode, Needs, Pipeline, PipelineId, PipelineSource, Prompt, RetryOn, RetryPolicy,
    Role, Stage, StageSession, StageWork, When,
};

use crate::corpus::GOOD_FILE;
use crate::{bare, repository};

pub(crate) const SEED: &str = include_str!("../../../../fixtures/seed/codex.orchestrator.json");

fn loaded(text: &str) -> Loaded {
    let root = repository(&[("codex.orchestrator.json", text)]);
    load(root.path(), &bare(root.path())).unwrap_or_else(|error| panic!("{error}"))
}

fn stage<'l>(pipeline: &'l Pipeline, id: &str) -> &'l Stage {
    pipeline.stage(&id.parse().unwrap()).unwrap()
}

#[test]
fn the_seeds_own_file_loads_as_it_is() {
    let loaded = loaded(SEED);
    assert!(loaded.warnings.is_empty());
    let ids: Vec<&str> = loaded.set.pipelines.keys().map(PipelineId::as_str).collect();
    assert_eq!(
        ids,
        [
            "diagnostics",
            "implementation-gate",
            "implementation-gate-devtools",
            "docs-review",
            "diagnostics-with-eval",
            "design-reference",
            "hi-fi-design-toolkit",
            "tfgrpo-learning"
        ]
    );
    assert_eq!(loaded.set.default.as_ref().map(PipelineId::as_str), Some("diagnostics"));
    for pipeline in loaded.set.pipelines.values() {
        assert_eq!(pipeline.source, PipelineSource::Repository);
        assert!(!pipeline.guardrails_required);
        assert!(pipeline.stages.iter().any(|stage| stage.guardrail), "{} has its spec-guard", pipeline.id);
        assert!(pipeline.stages.iter().all(|stage| stage.needs == Needs::PreviousStage && stage.runnable));
    }
    let assets = stage(&loaded.set.pipelines[5], "design-advanced-assets");
    assert!(assets.allow_failure);
    assert_eq!(assets.summary_hint.as_deref(), Some("Optional Framer Motion and FFmpeg assets"));
    assert_eq!(assets.env["DESIGN_PIPELINE"], "1");
}

#[test]
fn every_key_has_its_effect() {
    let loaded = loaded(GOOD_FILE);
    assert_eq!(loaded.warnings.len(), 1);
    assert_eq!(
        loaded.warnings[0].message,
        "`session` of stage `evidence` stays and is not reused: a second run finds `s` taken"
    );
    let main = loaded.select(None).unwrap();
    assert_eq!((main.id.as_str(), main.guardrails_required, main.max_parallel.get()), ("main", true, 4));

    let plan = stage(main, "plan");
    assert_eq!(plan.title, "echo plan");
    assert_eq!((plan.role, plan.default_target, plan.execution), (Role::Planner, true, ExecutionMode::Cloud));
    assert_eq!((plan.aliases.as_slice(), &plan.needs), (&["first".to_owned()][..], &Needs::Declared(vec![])));

    let build = stage(main, "build");
    let argv = ["make", "", "a b"].map(str::to_owned).to_vec();
    assert_eq!(build.work, StageWork::Command(CommandLine::Argv(argv)));
    assert_eq!(build.timeout, Some(Duration::from_millis(1_500)));
    assert_eq!(
        build.retry,
        RetryPolicy {
            max_attempts: NonZeroU32::new(3).unwrap(),
            backoff: Duration::ZERO,
            on: RetryOn { exit_codes: Some(vec![75, 1]), timed_out: false },
        }
    );
    assert_eq!((build.when, build.execution, build.allow_failure), (When::Always, ExecutionMode::Mcp, true));
    assert_eq!(build.inputs["list-file"].stage.as_str(), "plan");
    assert_eq!(build.env.keys().collect::<Vec<_>>(), ["A", "B_1"]);

    let fix = stage(main, "fix");
    let StageWork::Agent(agent) = &fix.work else { panic!("an agent") };
    assert_eq!(agent.prompt, Prompt::Text("Fix {{ task.id }}".to_owned()));
    assert_eq!((agent.agent.as_str(), agent.sandbox.as_deref()), ("codex", Some("workspace-write")));
    assert_eq!(fix.retry.on, RetryOn { exit_codes: Some(vec![]), timed_out: true });
    assert_eq!((fix.timeout, fix.retry.backoff), (Some(Duration::from_mins(1)), Duration::from_secs(1)));

    assert_eq!(stage(main, "review").execution, ExecutionMode::Cloud);
    let StageWork::Gate(gate) = &stage(main, "ask").work else { panic!("a gate") };
    assert_eq!(gate.expires_after, Duration::from_mins(90));
    let more = stage(main, "more");
    assert!(
        more.allow_failure
            && matches!(&more.work, StageWork::Pipeline(nested) if nested.pipeline.as_str() == "rest")
    );
    let evidence = stage(main, "evidence");
    assert!(evidence.guardrail && evidence.tty);
    let session = StageSession { id: "s".to_owned(), reuse: false, persist: true };
    assert_eq!(evidence.session, Some(session));
    assert_eq!(stage(&loaded.set.pipelines[1], "only").execution, ExecutionMode::Mcp);
}

#[test]
fn a_session_is_a_name_or_an_object() {
    let session = |value: &str| {
        let text = format!(
            r#"{{ "pipelines": [ {{ "id": "p", "stages": [ {{ "id": "a", "command": "true", "session": {value} }} ] }} ] }}"#
        );
        loaded(&text).set.pipelines[0].stages[0].session.clone().expect("a session")
    };
    let of = |id: &str, reuse, persist| StageSession { id: id.to_owned(), reuse, persist };
    assert_eq!(session(r#""dev""#), of("dev", true, false));
    assert_eq!(session("{}"), of("default", true, false));
    assert_eq!(session(r#"{ "id": "x.1", "persist": true }"#), of("x.1", true, true));
}

#[test]
fn an_explicit_word_on_the_cloud_wins_over_hints() {
    let mode = |keys: &str| {
        let text = format!(
            r#"{{ "pipelines": [ {{ "id": "p", "stages": [ {{ "id": "a", "command": "true" {keys} }} ] }} ] }}"#
        );
        loaded(&text).set.pipelines[0].stages[0].execution
    };
    assert_eq!(mode(""), ExecutionMode::Unset);
    assert_eq!(mode(r#", "mode": "cloud", "requires_cloud": false"#), ExecutionMode::Mcp);
    assert_eq!(mode(r#", "execution_mode": "mcp", "requiresCloud": true"#), ExecutionMode::Cloud);
    assert_eq!(
        mode(r#", "execution_mode": "mcp", "plan": { "requires_cloud": true }"#),
        ExecutionMode::Cloud
    );
    assert_eq!(mode(r#", "requires_cloud": false, "plan": { "requires_cloud": true }"#), ExecutionMode::Mcp);
    assert_eq!(mode(r#", "plan": { "executionMode": "cloud" }"#), ExecutionMode::Cloud);
}

#[test]
fn a_repositorys_pipeline_wins_over_the_built_in_one() {
    let own = r#"{ "pipelines": [ { "id": "release", "stages": [ { "kind": "pipeline", "id": "check", "pipeline": "diagnostics" } ] } ] }"#;
    let root = repository(&[("codex.orchestrator.json", own), ("Cargo.toml", "[package]\nname = \"x\"\n")]);
    let loaded = load(root.path(), &bare(root.path())).unwrap();
    let sources: Vec<_> = loaded.set.pipelines.values().map(|p| (p.id.as_str(), p.source.clone())).collect();
    assert_eq!(sources, [("release", PipelineSource::Repository), ("diagnostics", PipelineSource::BuiltIn)]);
    assert_eq!(loaded.select(None).unwrap().id.as_str(), "diagnostics");

    let root = repository(&[("codex.orchestrator.json", SEED), ("Cargo.toml", "[package]\nname = \"x\"\n")]);
    let loaded = load(root.path(), &bare(root.path())).unwrap();
    assert_eq!(loaded.select(None).unwrap().source, PipelineSource::Repository);
}

#[test]
fn what_cannot_be_picked_is_explained() {
    let seed = loaded(SEED);
    let error = seed.select(Some(&"diagnostisc".parse().unwrap())).unwrap_err();
    assert_eq!(error.to_string(), "there is no pipeline `diagnostisc`; did you mean `diagnostics`?");

    let two = r#"{ "pipelines": [ { "id": "a", "stages": [ { "id": "x", "command": "true" } ] }, { "id": "b", "stages": [ { "id": "x", "command": "true" } ] } ] }"#;
    let error = loaded(two).select(None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no pipeline is named and the file has no `defaultPipeline`; there are `a`, `b`"
    );

    let root = repository(&[("package.json", r#"{ "scripts": { "start": "x" } }"#)]);
    let empty = load(root.path(), &bare(root.path())).unwrap();
    assert_eq!(empty.file, None);
    let error = empty.select(None).unwrap_err();
    assert!(matches!(error, SelectError::NothingDetected(_)));
    let shown = error.to_string().replace(&root.path().display().to_string(), "R");
    assert_eq!(
        shown,
        "nothing to build, lint or test was recognised in `R`: \
         `package.json` has none of the scripts `build`, `lint` and `test`"
    );

    let root = repository(&[("README.md", "")]);
    let error = load(root.path(), &bare(root.path())).unwrap().select(None).unwrap_err();
    let shown = error.to_string().replace(&root.path().display().to_string(), "R");
    assert_eq!(
        shown,
        "nothing to build, lint or test was recognised in `R`: there is no Cargo.toml, package.json, \
         pyproject.toml, setup.py, setup.cfg, tox.ini, requirements.txt, go.mod, Makefile or justfile"
    );
}

#[test]
fn a_byte_order_mark_and_windows_lines_are_read() {
    let text = format!("\u{feff}{}", SEED.replace('\n', "\r\n"));
    assert_eq!(loaded(&text).set.pipelines.len(), 8);
}

#[test]
fn a_call_of_a_tool_is_read_in_its_canonical_form() {
    let text = |arguments: &str| {
        format!(
            r#"{{ "pipelines": [ {{ "id": "p", "mcpServers": ["files"], "stages": [ {{ "id": "a", "kind": "mcp",
               "server": "files", "tool": "read", "approval": "required"{arguments} }} ] }} ] }}"#
        )
    };
    let stage = |arguments: &str| {
        let loaded = loaded(&text(arguments));
        let pipeline = &loaded.set.pipelines[&PipelineId::new("p").unwrap()];
        assert_eq!(pipeline.mcp_servers, ["files"]);
        stage(pipeline, "a").clone()
    };
    let given = stage(r#", "arguments": { "b": [1, null, true], /* why */ "a": "\u00e9" }"#);
    let StageWork::Mcp(work) = &given.work else { panic!("{given:?}") };
    assert_eq!((work.server.as_str(), work.tool.as_str()), ("files", "read"));
    assert_eq!(work.arguments, r#"{"a":"é","b":[1,null,true]}"#);
    assert!(given.approval_required && given.title == "files/read");
    let StageWork::Mcp(work) = stage("").work else { panic!("another kind") };
    assert_eq!(work.arguments, "{}");
    for (arguments, said) in [
        (r#", "arguments": []"#, "`arguments` of stage `a` must be an object, not an array"),
        (r#", "arguments": {"a": {"x": 1, "x": 2}}"#, "key `x` appears twice"),
        (r#", "arguments": {"a": 1e999}"#, "a number that no program could read"),
        (r#", "env": {}"#, "a server's variables are part of its definition"),
    ] {
        let root = repository(&[("codex.orchestrator.json", &text(arguments))]);
        let error = load(root.path(), &bare(root.path())).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}
