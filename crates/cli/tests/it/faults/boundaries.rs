//! Death at every boundary: before and after each operation of the event log, and so before and
//! after every effect. None is sampled.

use std::collections::HashSet;

use serde_json::Value;

use super::world::{World, was_killed};
use crate::support::wait_for;

/// A pipeline to die in.
struct Case {
    pipelines: &'static str,
    /// What the probe does to the run.
    script: &'static str,
    /// The stages that must have ended well in the end.
    stages: &'static [&'static str],
    /// The operation at which an earlier owner died; the probe then resumes the run.
    earlier_death: Option<u64>,
}

const SERIAL: Case = Case {
    pipelines: r#"[{ "id": "p", "stages": [
        { "id": "a", "command": "sh ../stage.sh a" },
        { "id": "b", "command": "sh ../stage.sh b" },
        { "id": "c", "command": "sh ../stage.sh c" }
    ] }]"#,
    script: "watch",
    stages: &["a", "b", "c"],
    earlier_death: None,
};

#[test]
fn of_stages_in_a_row() {
    SERIAL.die_everywhere();
}

#[test]
fn of_a_resumed_run() {
    Case { earlier_death: Some(5), ..SERIAL }.die_everywhere();
}

#[test]
fn of_stages_side_by_side() {
    Case {
        pipelines: r#"[{ "id": "p", "max_parallel": 2, "stages": [
            { "id": "a", "command": "sh ../stage.sh a 'sleep 0.05'", "needs": [] },
            { "id": "b", "command": "sh ../stage.sh b 'sleep 0.05'", "needs": [] },
            { "id": "c", "command": "sh ../stage.sh c", "needs": ["a", "b"] }
        ] }]"#,
        ..SERIAL
    }
    .die_everywhere();
}

#[test]
fn of_a_stage_that_is_tried_again() {
    Case {
        pipelines: r#"[{ "id": "p", "stages": [
            { "id": "a", "command": "sh ../stage.sh a" },
            { "id": "b", "command": "sh ../stage.sh b '[ -e ../tried ] || { touch ../tried; exit 1; }'",
              "retry": { "max_attempts": 3, "backoff": "50ms" } }
        ] }]"#,
        stages: &["a", "b"],
        ..SERIAL
    }
    .die_everywhere();
}

#[test]
fn of_a_nested_pipeline() {
    Case {
        pipelines: r#"[
            { "id": "p", "stages": [
                { "id": "a", "command": "sh ../stage.sh a" },
                { "id": "n", "kind": "pipeline", "pipeline": "child" },
                { "id": "c", "command": "sh ../stage.sh c" }
            ] },
            { "id": "child", "stages": [
                { "id": "x", "command": "sh ../stage.sh x" },
                { "id": "y", "command": "sh ../stage.sh y" }
            ] }
        ]"#,
        stages: &["a", "x", "y", "c"],
        ..SERIAL
    }
    .die_everywhere();
}

#[test]
fn of_a_gate_that_is_answered() {
    Case {
        pipelines: r#"[{ "id": "p", "stages": [
            { "id": "a", "command": "sh ../stage.sh a" },
            { "id": "g", "kind": "gate", "message": "go on?" },
            { "id": "c", "command": "sh ../stage.sh c" }
        ] }]"#,
        script: "answer",
        stages: &["a", "c"],
        ..SERIAL
    }
    .die_everywhere();
}

/// Stage `b` goes on until `../quick` is there, so that the cancel always finds it at work.
const UNTIL_QUICK: &str = "'[ -e ../quick ] || sleep 30'";

#[test]
fn of_a_run_that_is_cancelled() {
    let pipelines = r#"[{ "id": "p", "stages": [
        { "id": "a", "command": "sh ../stage.sh a" },
        { "id": "b", "command": "sh ../stage.sh b UNTIL_QUICK" },
        { "id": "c", "command": "sh ../stage.sh c" }
    ] }]"#;
    Case { pipelines: pipelines.replace("UNTIL_QUICK", UNTIL_QUICK).leak(), script: "cancel", ..SERIAL }
        .die_everywhere();
}

#[test]
fn of_a_nested_pipeline_that_is_cancelled() {
    let pipelines = r#"[
        { "id": "p", "stages": [
            { "id": "n", "kind": "pipeline", "pipeline": "child" },
            { "id": "c", "command": "sh ../stage.sh c" }
        ] },
        { "id": "child", "stages": [
            { "id": "x", "command": "sh ../stage.sh x" },
            { "id": "b", "command": "sh ../stage.sh b UNTIL_QUICK" }
        ] }
    ]"#;
    Case {
        pipelines: pipelines.replace("UNTIL_QUICK", UNTIL_QUICK).leak(),
        script: "cancel",
        stages: &["x", "b", "c"],
        ..SERIAL
    }
    .die_everywhere();
}

impl Case {
    fn die_everywhere(&self) {
        let world = World::new(self.pipelines);
        let mut deaths = 0;
        for side in ["before", "after"] {
            let mut at = 1;
            while self.die_once(&world, side, at) {
                at += 1;
                deaths += 1;
                assert!(at < 200, "the run never ends");
            }
            world.all_agree();
        }
        // Every stage is at least begun and ended on either side.
        assert!(deaths >= 4 * self.stages.len() - 4, "only {deaths} deaths");
    }

    /// Lets the run die at one boundary and brings it to its end; `false` when it ended before.
    #[expect(clippy::print_stderr, reason = "a failing test names the boundary it failed at")]
    fn die_once(&self, world: &World, side: &str, at: u64) -> bool {
        for name in ["effects", "quick", "tried", "acknowledged"] {
            world.remove(name);
        }
        let known = world.folders();
        let new_run = || {
            let new = world.folders().into_iter().filter(|run| !known.contains(run));
            // A folder is made before its run is recorded.
            new.filter(|run| !world.events(run).is_empty()).min_by_key(String::len)
        };
        let killed = match self.earlier_death {
            None => world.probe(["start", "p"], side, at, self.script),
            Some(earlier) => {
                assert!(was_killed(&world.probe(["start", "p"], "before", earlier, self.script)));
                let run = new_run().expect("the run was recorded");
                world.probe(["resume", &run], side, at, self.script)
            }
        };
        if !was_killed(&killed) {
            return false;
        }
        let place = String::from_utf8_lossy(&killed.stderr).into_owned();
        eprintln!("{side}: {place}");
        world.every_view_parses();
        world.touch("quick");
        if let Some(run) = new_run() {
            self.bring_to_its_end(world, &run, side);
        } else {
            // Nothing was recorded, so nothing may have happened.
            assert_eq!(world.effects(), Vec::<String>::new());
            world.project.run(&["recover"]).expect(0);
            self.to_success(world, &["start", "p"], &known);
        }
        self.every_stage_was_run_well(world);
        world.wait_until_nothing_is_left();
        world.every_view_parses();
        true
    }

    fn bring_to_its_end(&self, world: &World, run: &str, side: &str) {
        let mut before = Vec::new();
        let promised = world.acknowledged();
        for run in world.family(run) {
            let events = world.events(&run);
            assert!(events.len() as u64 >= promised.get(&run).copied().unwrap_or_default(), "{events:#?}");
            before.push((run, events));
        }
        let finished: Vec<&str> = before.iter().flat_map(|(_, events)| succeeded_stages(events)).collect();
        let counts: Vec<usize> = finished.iter().map(|stage| world.count(&format!("+{stage}"))).collect();
        if side == "after" {
            // One way to go on: mend first, and find nothing left over.
            world.project.run(&["recover"]).expect(0);
            assert_eq!(world.marked(), Vec::<i32>::new());
            for (run, _) in &before {
                world.is_told_truly(run);
            }
        }
        let own = &before.iter().find(|(id, _)| id == run).expect("the run itself").1;
        if last_status(own) == Some("succeeded") {
            world.project.run(&["resume", "--run", run]).expect(11);
            world.project.run(&["recover"]).expect(0);
        } else {
            self.to_success(world, &["resume", "--run", run], &HashSet::new());
        }
        for (run, events) in &before {
            let after = world.events(run);
            assert_eq!(after[..events.len()], events[..], "what was recorded stays");
        }
        for (stage, count) in finished.iter().zip(counts) {
            assert_eq!(world.count(&format!("+{stage}")), count, "`{stage}` had succeeded");
        }
        for run in world.family(run) {
            world.is_told_truly(&run);
            assert_eq!(world.project.manifest(&run)["status"], "succeeded");
            let attempts = world.events(&run);
            for stage in self.stages {
                let begun = attempts.iter().filter(|event| {
                    event["type"] == "attempt_starting" && event["data"]["stage_id"] == *stage
                });
                let begun = begun.count();
                assert!(begun == 0 || world.count(&format!("+{stage}")) <= begun, "{attempts:#?}");
            }
        }
    }

    /// Runs the program until the run has succeeded, answering what is asked by runs that are not `known`.
    fn to_success(&self, world: &World, arguments: &[&str], known: &HashSet<String>) {
        if self.script != "answer" {
            world.project.run(arguments).expect(0);
            return;
        }
        let mut child = world.project.command(arguments).spawn().unwrap();
        let status = wait_for("the run ends", || {
            for run in world.folders().difference(known).filter(|run| is_waiting(world, run)) {
                // Refused when the answer was in already and is about to be taken.
                world.project.run(&["answer", "--run", run, "yes"]);
            }
            child.try_wait().unwrap()
        });
        assert!(status.success(), "{status}");
    }

    fn every_stage_was_run_well(&self, world: &World) {
        let effects = world.effects();
        assert!(!effects.iter().any(|line| line.starts_with("overlap")), "{effects:?}");
        for stage in self.stages {
            let (begun, ended) = (world.count(&format!("+{stage}")), world.count(&format!("-{stage}")));
            assert!((1..=3).contains(&begun), "{effects:?}");
            assert!((1..=begun).contains(&ended), "{effects:?}");
        }
    }
}

impl World {
    /// The ids of all runs, by their folders: looking at them mends nothing.
    fn folders(&self) -> HashSet<String> {
        let Ok(entries) = std::fs::read_dir(self.project.path(".runs/local/cli")) else {
            return HashSet::new();
        };
        entries.flatten().map(|entry| entry.file_name().into_string().unwrap()).collect()
    }

    /// A run and its children.
    fn family(&self, run: &str) -> Vec<String> {
        let below = format!("{run}.");
        self.folders()
            .into_iter()
            .filter(|id| id == run || id.starts_with(&below))
            .filter(|id| !self.events(id).is_empty())
            .collect()
    }
}

fn succeeded_stages(events: &[Value]) -> Vec<&str> {
    let finished = events.iter().filter(|event| event["type"] == "stage_finished");
    let succeeded = finished.filter(|event| event["data"]["status"] == "succeeded");
    succeeded.map(|event| event["data"]["stage_id"].as_str().unwrap()).collect()
}

fn last_status(events: &[Value]) -> Option<&str> {
    let finished = events.iter().rev().find(|event| event["type"] == "run_finished")?;
    finished["data"]["status"].as_str()
}

fn is_waiting(world: &World, run: &str) -> bool {
    let path = world.project.path(&format!(".runs/local/cli/{run}/manifest.json"));
    let Ok(text) = std::fs::read_to_string(path) else { return false };
    let manifest: Value = serde_json::from_str(&text).unwrap();
    manifest["commands"].as_array().unwrap().iter().any(|stage| stage["status"] == "waiting")
}
