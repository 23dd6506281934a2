//! Pipelines that run pipelines.

use crate::commands::{Workshop, stage};

#[test]
fn cycles_are_refused_at_load_and_named() {
    let itself = r#"[{ "id": "m", "stages": [{ "id": "a", "kind": "pipeline", "pipeline": "m" }] }]"#;
    let mutual = r#"[
        { "id": "m", "stages": [{ "id": "a", "kind": "pipeline", "pipeline": "n" }] },
        { "id": "n", "stages": [{ "id": "a", "kind": "subpipeline", "pipeline": "m" }] }
    ]"#;
    for (pipelines, cycle) in [(itself, "`m` → `m`"), (mutual, "`m` → `n` → `m`")] {
        let project = Workshop::new(pipelines);
        for arguments in [vec!["start", "m"], vec!["plan", "m"]] {
            let ended = project.run(&arguments).expect(3);
            assert!(ended.stderr.contains(cycle), "{}", ended.stderr);
        }
        assert!(!project.path(".runs").exists(), "nothing is written");
    }
}

#[test]
fn a_child_run_has_its_own_record_and_goes_on_with_its_parent() {
    let project = Workshop::new(
        r#"[
            { "id": "outer", "stages": [
                { "id": "before", "command": "echo before >> ran" },
                { "id": "inner", "kind": "pipeline", "pipeline": "inner" },
                { "id": "after", "command": "echo after >> ran" }
            ] },
            { "id": "inner", "stages": [
                { "id": "one", "command": "echo one >> ran" },
                { "id": "two", "command": "echo two >> ran; test -e repaired" }
            ] }
        ]"#,
    );
    let run = project.run(&["start", "outer", "--json"]).expect(10).run_id();
    let manifest = project.manifest(&run);
    assert_eq!(manifest["status_detail"], "subpipeline:inner:failed");
    let child = stage(&manifest, "inner")["sub_run_id"].as_str().unwrap().to_owned();
    let of_child = project.manifest(&child);
    assert_eq!(of_child["parent_run_id"], run.as_str());
    assert_eq!(of_child["status"], "failed");
    assert_eq!(manifest["child_runs"][0]["run_id"], child.as_str());
    let children = project.run(&["runs", "--parent-run", &run, "--json"]).expect(0).json();
    assert_eq!(children.as_array().unwrap().len(), 1);

    let alone = project.run(&["resume", "--run", &child]).expect(11);
    assert!(alone.stderr.contains(&format!("resume --run {run}")), "{}", alone.stderr);
    std::fs::write(project.path("repaired"), "").unwrap();
    project.run(&["resume", "--run", &run]).expect(0);
    assert_eq!(project.text("ran"), "before\none\ntwo\ntwo\nafter\n");
    assert_eq!(project.manifest(&child)["status"], "succeeded");
    assert_eq!(project.manifest(&run)["child_runs"].as_array().unwrap().len(), 1);
}

#[test]
fn a_child_that_may_fail_lets_its_parent_succeed() {
    let project = Workshop::new(
        r#"[
            { "id": "outer", "stages": [
                { "id": "inner", "kind": "subpipeline", "pipeline": "inner", "optional": true },
                { "id": "after", "command": "echo after >> ran" }
            ] },
            { "id": "inner", "stages": [{ "id": "one", "command": "false" }] }
        ]"#,
    );
    let run = project.run(&["start", "outer", "--json"]).expect(0).run_id();
    assert_eq!(stage(&project.manifest(&run), "inner")["status"], "failed");
    assert_eq!(project.text("ran"), "after\n");
}
