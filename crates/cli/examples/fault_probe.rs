//! Follows one run like the program does, and kills itself at a chosen operation of the event log.
//!
//! A tool of the fault tests: every effect lies between two operations of the log, so killing
//! before and after each of them reaches every boundary there is.
//!
//! `fault_probe <root> <start PIPELINE | resume RUN> <before|after|never> <N> <script>`
#![expect(clippy::expect_used, reason = "a tool that cannot go on must fail")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use co_config::{Environment, Loaded};
use co_log::{
    Append, EventLog, GrantFilter, InboxEntry, Lease, LeaseHolder, LogError, Owner, RunFilter, RunHead,
    Submitted, TaskTotals,
};
use co_log_sqlite::{OpenMode, SqliteLog};
use co_model::{
    Actor, Command, CommandKey, Envelope, Event, EventSeq, Grant, GrantId, GrantScope, PipelineId, Recorded,
    Revocation, RunId, RunSettings, StageId, TaskId, Timestamp, Verdict,
};
use co_process::Spawner;
use co_runtime::{
    Clock, Orchestrator, ResumeRequest, RunHandle, RuntimeOptions, StartRequest, SystemClock, TokenOffer,
};
use co_views::Layout;

/// On which side of the operation the end comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Before,
    After,
    Never,
}

/// What is done to the run while it is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Script {
    /// Nothing.
    Watch,
    /// Questions are answered with yes.
    Answer,
    /// The run is cancelled when a stage `b` begins.
    Cancel,
    /// The time of day jumps back by an hour, again and again.
    Clock,
}

/// An event log that ends this process at the chosen operation.
struct FaultingLog {
    log: SqliteLog,
    side: Side,
    at: u64,
    count: AtomicU64,
    acknowledged: PathBuf,
}

impl FaultingLog {
    /// Performs one operation that changes the log; reads are no boundary.
    fn operation<T>(&self, name: &str, work: impl FnOnce() -> Result<T, LogError>) -> Result<T, LogError> {
        let number = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        let due = |side| self.side == side && self.at == number;
        if due(Side::Before) {
            die(name, number);
        }
        let answer = work();
        if due(Side::After) {
            die(name, number);
        }
        answer
    }

    /// Notes what the log has promised, before anybody can act on it.
    fn acknowledge(&self, run: &RunId, recorded: &[Recorded]) {
        let Some(last) = recorded.last() else { return };
        let mut file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&self.acknowledged)
            .expect("the list of acknowledged events opens");
        file.write_all(format!("{run} {}\n", last.seq.0).as_bytes()).expect("it can be written");
    }
}

/// Ends this process as nothing can hold up: no destructor, no farewell.
fn die(name: &str, number: u64) -> ! {
    let note = format!("killed at operation {number}, {name}\n");
    std::io::stderr().write_all(note.as_bytes()).expect("standard error is there");
    let own = rustix::process::getpid();
    rustix::process::kill_process(own, rustix::process::Signal::KILL).expect("we may end ourselves");
    loop {
        std::thread::park();
    }
}

fn names(append: &Append<'_>) -> String {
    let names: Vec<&str> = append.events.iter().map(Event::name).collect();
    format!("{} of {}", names.join(", "), append.run)
}

impl EventLog for FaultingLog {
    fn create(&self, owner: &Owner, append: &Append<'_>) -> Result<(Lease, Vec<Recorded>), LogError> {
        self.operation(&format!("create: {}", names(append)), || {
            let created = self.log.create(owner, append)?;
            self.acknowledge(append.run, &created.1);
            Ok(created)
        })
    }

    fn append(&self, lease: &Lease, append: &Append<'_>) -> Result<Vec<Recorded>, LogError> {
        self.operation(&format!("append: {}", names(append)), || {
            let recorded = self.log.append(lease, append)?;
            self.acknowledge(append.run, &recorded);
            Ok(recorded)
        })
    }

    fn append_unowned(
        &self,
        holder: Option<&LeaseHolder>,
        fence: bool,
        append: &Append<'_>,
    ) -> Result<Option<Vec<Recorded>>, LogError> {
        self.operation(&format!("append from outside: {}", names(append)), || {
            let recorded = self.log.append_unowned(holder, fence, append)?;
            self.acknowledge(append.run, recorded.as_deref().unwrap_or_default());
            Ok(recorded)
        })
    }

    fn acquire(
        &self,
        run: &RunId,
        owner: &Owner,
        now: Timestamp,
        gone: &dyn Fn(&LeaseHolder) -> bool,
    ) -> Result<Lease, LogError> {
        self.operation("acquire", || self.log.acquire(run, owner, now, gone))
    }

    fn renew(&self, lease: &Lease, now: Timestamp) -> Result<(), LogError> {
        self.operation("renew", || self.log.renew(lease, now))
    }

    fn release(&self, lease: &Lease) -> Result<(), LogError> {
        self.operation("release", || self.log.release(lease))
    }

    fn submit(&self, run: &RunId, envelope: &Envelope) -> Result<Submitted, LogError> {
        self.operation("submit", || self.log.submit(run, envelope))
    }

    fn views_written(&self, run: &RunId, seq: EventSeq) -> Result<(), LogError> {
        self.operation("views written", || self.log.views_written(run, seq))
    }

    fn grants_of(&self, keys: &[String]) -> Result<Vec<Grant>, LogError> {
        self.log.grants_of(keys)
    }

    fn grants(&self, filter: &GrantFilter) -> Result<Vec<Grant>, LogError> {
        self.log.grants(filter)
    }

    fn revoke(&self, grant: &GrantId, revocation: &Revocation) -> Result<Option<Grant>, LogError> {
        self.operation("revoke", || self.log.revoke(grant, revocation))
    }

    fn events(&self, run: &RunId, after: EventSeq, limit: usize) -> Result<Vec<Recorded>, LogError> {
        self.log.events(run, after, limit)
    }

    fn settlement(&self, run: &RunId, key: &CommandKey) -> Result<Option<Submitted>, LogError> {
        self.log.settlement(run, key)
    }

    fn inbox(&self, run: &RunId) -> Result<Vec<InboxEntry>, LogError> {
        self.log.inbox(run)
    }

    fn head(&self, run: &RunId) -> Result<Option<RunHead>, LogError> {
        self.log.head(run)
    }

    fn heads(&self, filter: &RunFilter) -> Result<Vec<RunHead>, LogError> {
        self.log.heads(filter)
    }

    fn totals(&self, task: &TaskId) -> Result<TaskTotals, LogError> {
        self.log.totals(task)
    }
}

/// A time of day that is set back by an hour at every fifth look.
#[derive(Debug, Default)]
struct JumpingClock {
    looks: AtomicI64,
}

impl Clock for JumpingClock {
    fn now(&self) -> Timestamp {
        let jumps = self.looks.fetch_add(1, Ordering::Relaxed) / 5;
        Timestamp::from_millis(SystemClock.now().as_millis() - jumps * 3_600_000)
    }
}

fn main() {
    // Before any thread exists, as the program does.
    let spawner = Spawner::fork().expect("the spawner can be forked");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [root, verb, subject, side, at, script] = arguments.as_slice() else {
        panic!("six arguments are needed, not {arguments:?}");
    };
    let root = Path::new(root);
    let side = match side.as_str() {
        "before" => Side::Before,
        "after" => Side::After,
        _ => Side::Never,
    };
    let script = match script.as_str() {
        "answer" => Script::Answer,
        "cancel" => Script::Cancel,
        "clock" => Script::Clock,
        _ => Script::Watch,
    };
    let environment = Environment::capture();
    let loaded = co_config::load(root, &environment).expect("the pipelines can be read");
    let orchestrator = orchestrator(root, &environment, (side, at), script, spawner);
    let handle = if verb == "start" {
        start(&orchestrator, &loaded, subject)
    } else {
        let request = ResumeRequest {
            run: RunId::new(subject.as_str()).expect("a run id"),
            actor: Actor::new("probe"),
            reason: "probe".to_owned(),
            token: TokenOffer::Nothing,
            pipeline: None,
            policy: None,
        };
        orchestrator.resume(&request).expect("the run can be resumed")
    };
    play(&orchestrator, &handle, script);
    handle.join().expect("the run ends");
}

fn orchestrator(
    root: &Path,
    environment: &Environment,
    (side, at): (Side, &str),
    script: Script,
    spawner: Spawner,
) -> Orchestrator {
    let layout = Layout { root: root.to_owned(), runs_dir: root.join(".runs"), out_dir: root.join("out") };
    let log = FaultingLog {
        log: SqliteLog::open(&layout.database(), OpenMode::Create).expect("the log opens"),
        side,
        at: at.parse().expect("a number"),
        count: AtomicU64::new(0),
        acknowledged: root.parent().expect("a folder around the repository").join("acknowledged"),
    };
    let options = RuntimeOptions {
        layout,
        environment: environment
            .variables()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        heartbeat_interval: Duration::from_secs(5),
        stale_after: Duration::from_secs(30),
        require_resume_token: false,
        agent_program: None,
        helper: None,
        guard: co_privacy::Guard::new(&co_privacy::GuardSettings::default()).expect("a guard"),
        session_host: None,
    };
    let clock: Arc<dyn Clock> =
        if script == Script::Clock { Arc::new(JumpingClock::default()) } else { Arc::new(SystemClock) };
    Orchestrator::new(options, Arc::new(log), clock, Some(spawner)).expect("the runtime is set up")
}

fn start(orchestrator: &Orchestrator, loaded: &Loaded, pipeline: &str) -> RunHandle {
    let id = PipelineId::new(pipeline).expect("a pipeline id");
    let pipeline = loaded.select(Some(&id)).expect("the pipeline exists").clone();
    let request = StartRequest {
        task: TaskId::new("local").expect("a task id"),
        nested: loaded.set.nested_of(&pipeline),
        pipeline,
        settings: RunSettings::default(),
        worktree: false,
    };
    orchestrator.start(request).expect("the run starts")
}

/// Watches the run, and the child of its stage `n`, to the end and does what the script says.
fn play(orchestrator: &Orchestrator, handle: &RunHandle, script: Script) {
    let child = handle.run().child(&StageId::new("n").expect("a stage id")).expect("a run id");
    let (mut seen, mut seen_of_child) = (EventSeq(0), EventSeq(0));
    loop {
        let progressed = handle.wait(seen, Duration::from_millis(20));
        for (run, seen) in [(handle.run(), &mut seen), (&child, &mut seen_of_child)] {
            for recorded in orchestrator.events(run, *seen, 100).expect("the events can be read") {
                *seen = recorded.seq;
                if let Some(command) = reaction(&recorded.event, script) {
                    let envelope = Envelope {
                        key: CommandKey(format!("probe:{run}:{}", seen.0)),
                        actor: Actor::new("probe"),
                        sent_at: orchestrator.now(),
                        command,
                    };
                    orchestrator.submit(handle.run(), &envelope).expect("the command is taken");
                }
            }
        }
        if progressed.done {
            return;
        }
    }
}

fn reaction(event: &Event, script: Script) -> Option<Command> {
    match (event, script) {
        (Event::QuestionAsked { stage, .. }, Script::Answer) => Some(Command::Answer {
            stage: Some(stage.clone()),
            call: None,
            scope: GrantScope::Once,
            verdict: Verdict::Approve,
            reason: None,
        }),
        (Event::AttemptStarted { stage, .. }, Script::Cancel) if stage.as_str() == "b" => {
            Some(Command::Cancel { reason: None })
        }
        _ => None,
    }
}
