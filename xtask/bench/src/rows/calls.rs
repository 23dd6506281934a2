//! What it costs that every command is weighed, looked up, confined and recorded.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use co_log::EventLog;
use co_log_sqlite::{OpenMode, SqliteLog};
use co_model::{
    Actor, CallId, CallOrigin, CallRequest, Event, EventSeq, Grant, GrantId, GrantScope, Recorded, RunId,
    SandboxPolicy, StageId, TaskId, Timestamp, ToolUse,
};
use co_policy::{Context, GrantIndex, key};
use serde_json::json;

use crate::Outcome;
use crate::contestant::{Product, npm_peer};
use crate::place::Place;
use crate::report::{Row, Verdict};
use crate::rows::event_log::with_grants;
use crate::sample::{median, millis, percentile, ratio, take_turns};

const ADDED_BAR: Duration = Duration::from_millis(5);
const LOOKUP_BAR: Duration = Duration::from_micros(50);
/// At most this part of the npm peer's time.
const PEER_BAR: f64 = 0.1;
const CALLS: usize = 200;
const GRANTS: u32 = 10_000;
const LOOKUPS: u32 = 2_000;
/// Of each floor; they are short.
const FLOOR_SAMPLES: usize = 100;
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn measure(product: &Product, rounds: usize) -> Outcome<Vec<Row>> {
    Ok(vec![consented(product)?, sandboxed(product)?, lookup()?, exec(product, rounds)?])
}

/// Calls that need consent and find an earlier one: the whole way but for the person.
fn consented(product: &Product) -> Outcome<Row> {
    let stage =
        |number: usize| json!({ "id": format!("s{number}"), "command": "true", "approval": "required" });
    let place = Place::of_stages(&[("ask", vec![stage(1)]), ("all", (1..=CALLS).map(stage).collect())])?;
    agree(product, &place)?;
    let floor = floor(&place, "/bin/sh", &["-c", "true"])?;
    let run = product.run_id(&place, "all", "bench")?;
    added(
        "a command weighed, its consent found, recorded, run: p95 of what is added",
        &place,
        &run,
        floor,
        "`sh -c true`",
    )
}

/// Calls in a sandbox, beside the same namespaces made by bubblewrap alone.
fn sandboxed(product: &Product) -> Outcome<Row> {
    let stage = |number: usize| json!({ "id": format!("s{number}"), "command": "true", "sandbox": "workspace-write" });
    let place = Place::of_stages(&[("all", (1..=CALLS).map(stage).collect())])?;
    let bare =
        ["--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"];
    let floor = floor(&place, "bwrap", &[&bare[..], &["/bin/sh", "-c", "true"]].concat())?;
    let run = product.run_id(&place, "all", "bench")?;
    added(
        "the same in `workspace-write`, seccomp and Landlock included",
        &place,
        &run,
        floor,
        "bare `bwrap … sh -c true`",
    )
}

/// Asks once and answers for always.
fn agree(product: &Product, place: &Place) -> Outcome<()> {
    thread::scope(|scope| {
        let asking = scope.spawn(|| product.run_id(place, "ask", "bench").map_err(|error| error.to_string()));
        let until = Instant::now() + PATIENCE;
        let open = loop {
            let questions = place.json(&product.program, &["approvals", "questions", "--json"]).ok();
            let run =
                questions.filter(|asked| asked["questions"].as_array().is_some_and(|all| !all.is_empty()));
            match run.and_then(|asked| asked["run_id"].as_str().map(str::to_owned)) {
                Some(run) => break run,
                None if Instant::now() < until => thread::park_timeout(Duration::from_millis(10)),
                None => return Err("nothing was asked".into()),
            }
        };
        place.time(&product.program, &["answer", "--run", &open, "yes", "--scope", "always"])?;
        asking.join().map_err(|_| "the asking run panicked")??;
        Ok(())
    })
}

fn floor(place: &Place, program: &str, arguments: &[&str]) -> Outcome<Duration> {
    Ok(median((0..FLOOR_SAMPLES).map(|_| place.time(program, arguments)).collect::<Outcome<_>>()?))
}

/// The time from one stage's end to the next one's, over what the bare command takes.
fn added(what: &str, place: &Place, run: &str, floor: Duration, floor_name: &str) -> Outcome<Row> {
    let log = SqliteLog::open(&place.event_log(), OpenMode::ReadOnly)?;
    let events = log.events(&RunId::new(run)?, EventSeq(0), usize::MAX)?;
    let is_end = |recorded: &&Recorded| matches!(recorded.event, Event::StageFinished { .. });
    let ends: Vec<Timestamp> = events.iter().filter(is_end).map(|recorded| recorded.at).collect();
    let times: Vec<Duration> =
        ends.windows(2).map(|pair| pair[1].since(pair[0]).saturating_sub(floor)).collect();
    let p95 = percentile(times.clone(), 95);
    Ok(Row {
        what: what.to_owned(),
        bar: format!("≤ {} ms", ADDED_BAR.as_millis()),
        ours: format!("{} (median {})", millis(p95), millis(median(times))),
        reference: format!("over {floor_name} {}; clock of 1 ms", millis(floor)),
        ratio: String::new(),
        verdict: Verdict::of(p95 <= ADDED_BAR),
    })
}

/// Which consents there are for a call, read from the log and weighed.
fn lookup() -> Outcome<Row> {
    let place = Place::new(&[])?;
    let log = SqliteLog::open(&place.path().join("log.db"), OpenMode::Create)?;
    let (run, task) = (RunId::generate(Timestamp::from_millis(1_800_000_000_000), 1), TaskId::new("bench")?);
    let grants: Vec<Grant> = (0..GRANTS).map(|number| grant(&run, &task, number)).collect::<Outcome<_>>()?;
    let _lease = with_grants(&log, &run, &grants)?;
    let now = Timestamp::from_millis(1_800_000_000_000);
    let starter = Actor::new("bench");
    let context = Context { now, run: &run, task: &task, session: None, starter: Some(&starter) };
    let mut times = Vec::new();
    for number in 0..LOOKUPS {
        let call = call((number * 7_919) % GRANTS)?;
        let begun = Instant::now();
        let keys = key(&call);
        let index: GrantIndex = log.grants_of(keys.as_slice())?.into_iter().collect();
        let found = index.find(&keys, &context).is_some();
        times.push(begun.elapsed());
        if !found {
            return Err("a consent was not found".into());
        }
    }
    let (p95, middle) = (percentile(times.clone(), 95), median(times));
    Ok(Row {
        what: format!("the consent to one call among {GRANTS}, from the log"),
        bar: format!("≤ {} µs", LOOKUP_BAR.as_micros()),
        ours: format!("{} µs (p95 {} µs)", middle.as_micros(), p95.as_micros()),
        reference: "its key computed, one indexed query, weighed".into(),
        ratio: String::new(),
        verdict: Verdict::of(middle <= LOOKUP_BAR),
    })
}

fn call(number: u32) -> Outcome<CallRequest> {
    Ok(CallRequest {
        call: CallId(format!("s#{number}")),
        stage: StageId::new("s")?,
        attempt: 1,
        origin: CallOrigin::Stage,
        tool: ToolUse::Command { argv: vec!["./deploy.sh".into(), format!("--to=region-{number}")] },
        cwd: "/home/bench/project".into(),
        tty: false,
        sandbox: SandboxPolicy::FULL_ACCESS,
        env: BTreeMap::new(),
        escalated: false,
        reason: None,
        sealed: false,
    })
}

fn grant(run: &RunId, task: &TaskId, number: u32) -> Outcome<Grant> {
    Ok(Grant {
        id: GrantId(format!("{run}/s#{number}/1")),
        key: key(&call(number)?).as_slice().concat(),
        shown: format!("./deploy.sh --to=region-{number}"),
        scope: GrantScope::Always,
        task: task.clone(),
        run: run.clone(),
        session: None,
        actor: Actor::new("bench"),
        starter: Some(Actor::new("bench")),
        given_at: Timestamp::from_millis(1_800_000_000_000),
        expires_at: None,
        uses_left: None,
        revoked: None,
    })
}

/// A whole `exec`, as machines read it, beside the npm peer.
fn exec(product: &Product, rounds: usize) -> Outcome<Row> {
    let (place, peer_place) = (Place::new(&[])?, Place::new(&[])?);
    let peer = npm_peer()?;
    let arguments = ["exec", "--jsonl", "--", "true"];
    let [ours, theirs] = take_turns(
        rounds,
        [&mut || place.time(&product.program, &arguments), &mut || peer_place.time(&peer, &arguments)],
    )?;
    Ok(Row {
        what: "`exec --jsonl true`".into(),
        bar: "≤ 1/10 of the npm peer".into(),
        ours: millis(ours),
        reference: format!("npm `@kbediako/codex-orchestrator` {}", millis(theirs)),
        ratio: format!("1/{:.0}", ratio(theirs, ours)),
        verdict: Verdict::of(ratio(ours, theirs) <= PEER_BAR),
    })
}
