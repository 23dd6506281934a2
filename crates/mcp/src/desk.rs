//! Asks the blocking runtime from asynchronous code.
//!
//! Everything that touches the log, a file or a process runs on a blocking thread, at most
//! [`AT_ONCE`] at a time: a client that asks for a thousand things waits, the server does not grow.

use std::sync::Arc;
use std::time::Duration;

use co_engine::{RunState, StageState};
use co_log::{Settlement, Submitted};
use co_model::{Actor, Command, CommandKey, Envelope, EventSeq, RunId, StageId, Timestamp, visible};
use co_runtime::{Liveness, Orchestrator, RunSnapshot, RuntimeError};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use crate::host::{Host, Refusal};

/// How many blocking requests are under way at most.
pub(crate) const AT_ONCE: usize = 16;
/// How long an owner may take to answer a command before we say that it has not.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a settlement is looked for.
const LOOK: Duration = Duration::from_millis(25);

/// The way to the runtime. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Desk {
    host: Arc<dyn Host>,
    places: Arc<Semaphore>,
}

/// A question that a run asks a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) stage: StageId,
    pub(crate) message: String,
    pub(crate) expires_at: Timestamp,
}

impl Desk {
    pub(crate) fn new(host: Arc<dyn Host>) -> Self {
        Self { host, places: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Runs something that blocks. A panic in it is that request's failure, not the server's.
    ///
    /// Not cancelled with the caller: what has begun is finished.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Host) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let bug = |what: &str| Refusal::new(1, format!("the request was not carried out: {what}"));
        let place =
            Arc::clone(&self.places).acquire_owned().await.map_err(|_| bug("the server is ending"))?;
        let host = Arc::clone(&self.host);
        let done = tokio::task::spawn_blocking(move || {
            let _place = place;
            work(&*host)
        });
        done.await.map_err(|error| bug(&error.to_string()))?
    }

    /// Runs something that needs the runtime.
    pub(crate) async fn runtime<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Orchestrator) -> Result<T, RuntimeError> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.ask(move |host| {
            let orchestrator = host.orchestrator()?;
            work(&orchestrator).map_err(|error| host.explain(error))
        })
        .await
    }

    /// Reads a run as it stands; one whose owner is gone is mended first.
    pub(crate) async fn snapshot(&self, run: &RunId) -> Result<RunSnapshot, Refusal> {
        let run = run.clone();
        self.runtime(move |orchestrator| orchestrator.snapshot(&run)).await
    }

    /// Whether a run has an event after `seen`.
    pub(crate) async fn moved(&self, run: &RunId, seen: EventSeq) -> Result<bool, Refusal> {
        let run = run.clone();
        self.runtime(move |orchestrator| Ok(!orchestrator.events(&run, seen, 1)?.is_empty())).await
    }

    /// Submits a command and waits until the run's owner has settled it.
    pub(crate) async fn submit(
        &self,
        run: &RunId,
        actor: Actor,
        key: CommandKey,
        command: Command,
    ) -> Result<(), Refusal> {
        let name = match &command {
            Command::Cancel { .. } => "cancel",
            Command::Answer { .. } => "answer",
            Command::Steer { .. } => "steer",
        };
        let (sent, sent_key) = (run.clone(), key.clone());
        let mut submitted = self
            .runtime(move |orchestrator| {
                let sent_at = orchestrator.now();
                orchestrator.submit(&sent, &Envelope { key: sent_key, actor, sent_at, command })
            })
            .await?;
        let until = Instant::now() + PATIENCE;
        loop {
            match submitted {
                Submitted::Settled(Settlement::Accepted) => return Ok(()),
                Submitted::Settled(Settlement::Refused { detail }) => {
                    let message = format!("run `{run}` refuses `{name}`: {detail}");
                    return Err(Refusal::new(Refusal::REFUSED, message));
                }
                Submitted::Open if Instant::now() >= until => {
                    let silent = self.snapshot(run).await?.liveness == Liveness::Silent;
                    let next = if silent { "recover" } else { "status" };
                    return Err(Refusal {
                        message: format!(
                            "the owner of run `{run}` has not answered; the command stays in its inbox"
                        ),
                        hints: vec![format!("codex-orchestrator {next} --run {run}")],
                        exit_code: Refusal::REFUSED,
                    });
                }
                Submitted::Open => {
                    sleep(LOOK).await;
                    let (run, key) = (run.clone(), key.clone());
                    let settlement = self.runtime(move |runtime| runtime.settlement(&run, &key)).await?;
                    submitted = settlement.unwrap_or(Submitted::Open);
                }
            }
        }
    }
}

/// The questions that a run asks now, in file order.
pub(crate) fn questions(state: &RunState) -> Vec<Question> {
    let open = state.stages.iter().filter_map(|record| match &record.state {
        StageState::Asking { message, expires_at } => Some(Question {
            stage: record.id().clone(),
            message: visible(message).into_owned(),
            expires_at: *expires_at,
        }),
        _ => None,
    });
    open.collect()
}

/// Whether nothing happens to a run unless somebody asks for it.
pub(crate) fn is_at_rest(state: &RunState) -> bool {
    state.status().is_over() || state.status() == co_model::RunStatus::Interrupted
}
