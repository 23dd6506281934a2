//! Which stages a run consists of, in which order, and where.

use co_engine::{PlanRequest, plan};
use co_model::ExecutionMode;

use crate::world::{check_with, pipeline};

/// The planned order, then the stages left out.
fn planned(text: &str, target: Option<&str>) -> String {
    match plan(&pipeline(text), &PlanRequest { target, ..PlanRequest::default() }) {
        Ok(plan) => {
            let stages: Vec<&str> = plan.stages.iter().map(|planned| planned.stage.as_str()).collect();
            let skipped: Vec<&str> = plan.skipped.iter().map(|skipped| skipped.stage.as_str()).collect();
            let target = plan.target.map(|target| format!(" -> {target}")).unwrap_or_default();
            format!("{} / {}{target}", stages.join(" "), skipped.join(" "))
        }
        Err(error) => error.to_string(),
    }
}

#[test]
fn stages_are_ordered_by_role_then_need_then_appearance() {
    let cases = [
        ("a | b | c", "a b c / "),
        ("t role=tester | b | r role=reviewer | p role=planner", "p b t r / "),
        ("a needs=c | b needs= | c needs=", "b c a / "),
        ("a in=b needs= | b needs=", "b a / "),
        ("a | b off | c", "a c / b"),
        ("a default | b", "a b /  -> p:a"),
        ("a default off | b", "b / a"),
        ("a off", "pipeline `p` has no stage that can be run"),
        (
            "a needs=b | b needs=a | c needs=",
            "these stages wait for each other, or for a later role: `a`, `b`",
        ),
        ("a needs=a", "these stages wait for each other, or for a later role: `a`"),
        (
            "b needs=t | t role=tester needs=",
            "these stages wait for each other, or for a later role: `b`, `t`",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(planned(text, None), expected, "{text}");
    }
}

#[test]
fn a_target_selects_itself_and_what_it_declares_to_need() {
    let text = "a | Build alias=compile | test needs=Build alias=t alias=p:check in=a | c | off off | \
                d needs=off alias=dup alias=T | e alias=dup | f needs=test";
    let cases = [
        ("a", "a / Build test c off d e f -> p:a"),
        // Order of appearance alone is no dependency.
        ("c", "c / a Build test off d e f -> p:c"),
        ("test", "a Build test / c off d e f -> p:test"),
        ("p:test", "a Build test / c off d e f -> p:test"),
        ("P:TEST", "a Build test / c off d e f -> p:test"),
        (" build ", "Build / a test c off d e f -> p:Build"),
        ("compile", "Build / a test c off d e f -> p:Build"),
        ("p:check", "a Build test / c off d e f -> p:test"),
        ("f", "a Build test f / c off d e -> p:f"),
        // What is marked as not runnable is run by nobody.
        ("d", "d / a Build test c off e f -> p:d"),
        ("off", "stage `off` is marked as not runnable"),
        ("dup", "target `dup` fits several stages of pipeline `p`: `d`, `e`"),
        ("t", "target `t` fits several stages of pipeline `p`: `test`, `d`"),
        (
            "q:test",
            "pipeline `p` has no stage `q:test`; it has `a`, `Build`, `test`, `c`, `off`, `d`, `e`, `f`",
        ),
    ];
    for (target, expected) in cases {
        assert_eq!(planned(text, Some(target)), expected, "--target {target}");
    }
    assert_eq!(planned("a | A", Some("A")), "A / a -> p:A", "the exact spelling wins");
    assert!(planned("b | B", Some("x")).contains("has no stage"));
    assert_eq!(planned("é", Some("É")), "é /  -> p:é");
}

#[test]
fn what_was_not_targeted_is_recorded_as_skipped() {
    let settings = co_model::RunSettings { target: Some("B".into()), ..Default::default() };
    let steps = [("start", "b#1"), ("b=0", "=> succeeded")];
    check_with("a | b | c", settings, &steps, "a:skip(NotTargeted) b:ok c:skip(NotTargeted)");
}

#[test]
fn the_mode_is_the_stages_word_then_the_tasks_then_local() {
    use ExecutionMode::{Cloud, Mcp, Unset};
    let stages = [("a", Unset), ("a mcp", Mcp), ("a cloud", Cloud)];
    for (text, said) in stages {
        for mode in [None, Some(Unset), Some(Mcp), Some(Cloud)] {
            for parallel in [false, true] {
                let expected = match (said, mode, parallel) {
                    (Cloud, _, _) | (Unset, Some(Cloud), _) | (Unset, None | Some(Unset), true) => Cloud,
                    _ => Mcp,
                };
                let made = plan(&pipeline(text), &PlanRequest { target: None, mode, parallel }).unwrap();
                assert_eq!(made.stages[0].mode, expected, "{text}, {mode:?}, {parallel}");
                assert_eq!(made.mode, expected, "the run is where one of its stages is");
            }
        }
    }
}
