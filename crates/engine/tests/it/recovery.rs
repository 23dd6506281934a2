//! What is to be done about a run whose owner may be gone.

use co_engine::{Phase, RunState, Seen, plan_recovery};
use co_model::RunSettings;

use crate::world::{World, pipeline};

/// The plan as it is printed.
fn printed(state: &RunState, seen: &Seen) -> String {
    let plan = plan_recovery(state, seen);
    let steps = plan.steps.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let on_resume = plan.on_resume.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    format!("{steps} / {on_resume}")
}

fn world(text: &str, steps: &[&str]) -> World {
    let (mut world, _) = World::start(pipeline(text), RunSettings::default()).unwrap();
    for step in steps {
        world.step(step);
    }
    world
}

#[test]
fn every_phase_and_every_sight_has_its_plan() {
    let created = {
        let mut world = world("a", &[]);
        world.state = RunState::replay(&world.log[..1]).unwrap();
        world
    };
    assert_eq!(created.state.phase, Phase::Created);
    let cases = [
        (created, "mark as interrupted: pid 7 is gone", "write the views from the log", "run stage a"),
        (
            world("a", &[]),
            "mark as interrupted: pid 7 is gone",
            "write the views from the log",
            "run stage a",
        ),
        (
            world("a", &["cancel"]),
            "end as cancelled, as had been asked for",
            "write the views from the log",
            "",
        ),
        (world("a", &["crash"]), "", "", "run stage a"),
        (world("a", &["a=0"]), "", "", ""),
        (world("a", &["a=1"]), "", "", ""),
        (world("a", &["cancel", "a=stopped"]), "", "", ""),
    ];
    for (world, step, rewrite, on_resume) in cases {
        for survivors in [false, true] {
            for views_lag in [false, true] {
                let mut seen = Seen {
                    owner_alive: false,
                    owner: "pid 7 is gone".into(),
                    survivors: if survivors { vec!["8".into(), "9".into()] } else { Vec::new() },
                    views_lag,
                };
                let kill = if survivors { "kill 8, 9" } else { "" };
                let rewrite = if views_lag { "write the views from the log" } else { rewrite };
                let steps: Vec<&str> =
                    [kill, step, rewrite].into_iter().filter(|part| !part.is_empty()).collect();
                let expected = format!("{} / {on_resume}", steps.join("; "));
                assert_eq!(printed(&world.state, &seen), expected, "{:?} {seen:?}", world.state.phase);
                seen.owner_alive = true;
                assert_eq!(printed(&world.state, &seen), " / ", "a living owner is left alone");
            }
        }
    }
}

#[test]
fn a_resume_does_what_the_plan_said() {
    let text = "par=9: done needs= | cmd needs= | agent needs= agent | wait needs= gate=1000 | n needs= child=q | \
                failed needs= allow | retry needs= try=2 wait=9 | later needs=cmd | off off";
    let mut world = world(text, &["done=0", "agent~t", "failed=1", "retry=1", "crash"]);
    let expected = " / run stage cmd; continue stage agent in agent thread t; wait for the answer to stage \
                    wait; resume the child run of stage n; run stage failed; run stage retry; run stage later";
    assert_eq!(printed(&world.state, &Seen::default()), expected);
    assert_eq!(world.step("resume"), "wake@1000 cmd#2 agent#2@t n:r.n:q failed#2 retry#2");
}
