//! What is told: one JSON object per message, in the spelling of Codex's `notify`.

use std::fmt;
use std::str::FromStr;

use co_model::{AttemptReport, Event, Recorded, StageId};
use serde_json::{Value, json};

use crate::RunFacts;

/// Longest text within a message, in bytes: a message must fit into one argument of a program.
const LONGEST_TEXT: usize = 16 * 1024;

/// The kinds of message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NotificationKind {
    /// A run has begun.
    RunStarted,
    /// A run is over.
    RunFinished,
    /// The owner of a run is gone without ending it.
    RunInterrupted,
    /// A stage is over.
    StageFinished,
    /// An agent's turn is over; Codex's own kind.
    AgentTurnComplete,
    /// A question waits for a person.
    ApprovalRequested,
    /// A question was answered, or its time was over.
    ApprovalResolved,
    /// A surface's own summary of a run.
    RunSummary,
}

impl NotificationKind {
    /// Every kind, in the order of documentation.
    pub const ALL: [Self; 8] = [
        Self::RunStarted,
        Self::RunFinished,
        Self::RunInterrupted,
        Self::StageFinished,
        Self::AgentTurnComplete,
        Self::ApprovalRequested,
        Self::ApprovalResolved,
        Self::RunSummary,
    ];

    /// The kind as settings and messages spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RunStarted => "run-started",
            Self::RunFinished => "run-finished",
            Self::RunInterrupted => "run-interrupted",
            Self::StageFinished => "stage-finished",
            Self::AgentTurnComplete => "agent-turn-complete",
            Self::ApprovalRequested => "approval-requested",
            Self::ApprovalResolved => "approval-resolved",
            Self::RunSummary => "run-summary",
        }
    }
}

impl fmt::Display for NotificationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Says that a text names no kind of message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a kind of notification")]
pub struct UnknownKind(String);

impl FromStr for NotificationKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Message {
    pub(crate) kind: NotificationKind,
    /// Stable across repetitions: receivers may drop what they have seen.
    pub(crate) id: String,
    /// Where the run works; programs are started there.
    pub(crate) workspace: String,
    pub(crate) body: Value,
}

impl Message {
    /// The message about an event, if anybody ever waits for its kind.
    pub(crate) fn about(run: &RunFacts, recorded: &Recorded) -> Option<Self> {
        use NotificationKind as Kind;
        let (kind, details) = match &recorded.event {
            Event::RunStarted => (Kind::RunStarted, json!({})),
            Event::RunFinished { outcome } => {
                let details = json!({
                    "status": outcome.status().as_str(),
                    "detail": outcome.detail().map(cut),
                });
                (Kind::RunFinished, details)
            }
            Event::RunInterrupted { detail } => (Kind::RunInterrupted, json!({ "detail": cut(detail) })),
            Event::StageFinished { stage, outcome } => {
                let details = json!({ "stage": stage.as_str(), "status": outcome.status().as_str() });
                (Kind::StageFinished, details)
            }
            Event::AttemptFinished { stage, attempt, report } => {
                (Kind::AgentTurnComplete, turn(run, stage, *attempt, report)?)
            }
            Event::QuestionAsked { stage, message, expires_at, .. } => {
                let details = json!({
                    "stage": stage.as_str(),
                    "message": cut(message),
                    "expires-at": expires_at.to_string(),
                });
                (Kind::ApprovalRequested, details)
            }
            Event::QuestionAnswered { stage, verdict, .. } => {
                let approved = *verdict == co_model::Verdict::Approve;
                let answer = if approved { "approved" } else { "denied" };
                (Kind::ApprovalResolved, json!({ "stage": stage.as_str(), "answer": answer }))
            }
            Event::QuestionExpired { stage, .. } => {
                (Kind::ApprovalResolved, json!({ "stage": stage.as_str(), "answer": "expired" }))
            }
            _ => return None,
        };
        let id = format!("{}/{}", run.run, recorded.seq.0);
        let mut body = json!({
            "type": kind.as_str(),
            "event-id": &id,
            "run-id": run.run.as_str(),
            "task-id": run.task.as_str(),
            "at": recorded.at.to_string(),
            "cwd": run.workspace,
        });
        if let (Value::Object(body), Value::Object(details)) = (&mut body, details) {
            body.extend(details);
        }
        Some(Self { kind, id, workspace: run.workspace.clone(), body })
    }

    /// A surface's own summary of a run, as it is.
    pub(crate) fn summary(run: &RunFacts, summary: &Value) -> Self {
        Self {
            kind: NotificationKind::RunSummary,
            id: format!("{}/summary", run.run),
            workspace: run.workspace.clone(),
            body: summary.clone(),
        }
    }
}

/// Codex's own keys, so that a program written for its `notify` understands the message.
fn turn(run: &RunFacts, stage: &StageId, attempt: u32, report: &AttemptReport) -> Option<Value> {
    let agent = report.agent.as_ref()?;
    Some(json!({
        "thread-id": agent.thread.as_ref().map(|thread| thread.0.as_str()),
        "turn-id": format!("{}/{stage}#{attempt}", run.run),
        "client": "codex-orchestrator",
        "input-messages": [],
        "last-assistant-message": agent.last_message.as_deref().map(cut),
        "stage": stage.as_str(),
        "attempt": attempt,
        "succeeded": agent.failure.is_none(),
    }))
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST_TEXT)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use co_model::{EventSeq, RunId, TaskId, Timestamp};

    fn told(event: Value) -> Option<Message> {
        let run = RunFacts {
            run: RunId::new("r").unwrap(),
            task: TaskId::new("t").unwrap(),
            parent: None,
            workspace: "/w".to_owned(),
        };
        let event = serde_json::from_value(event).unwrap();
        Message::about(&run, &Recorded { seq: EventSeq(7), at: Timestamp::from_millis(0), event })
    }

    fn attempt(agent: &Value) -> Value {
        json!({"type": "attempt_finished", "data": {"stage": "build", "attempt": 2, "report": {
            "exit": {"code": 0}, "duration": 5, "summary": "", "survivors_killed": 0,
            "output": {"stdout": {"bytes": 0}, "stderr": {"bytes": 0}}, "agent": agent}}})
    }

    #[test]
    fn a_finished_turn_is_told_in_the_words_of_codex() {
        let agent = json!({"thread": "th", "usage": null, "commands_run": 0, "last_message": "done"});
        assert_eq!(
            told(attempt(&agent)).unwrap().body,
            json!({
                "type": "agent-turn-complete", "event-id": "r/7", "run-id": "r", "task-id": "t",
                "at": "1970-01-01T00:00:00.000Z", "cwd": "/w", "thread-id": "th", "turn-id": "r/build#2",
                "client": "codex-orchestrator", "input-messages": [], "last-assistant-message": "done",
                "stage": "build", "attempt": 2, "succeeded": true
            })
        );
        assert_eq!(told(attempt(&Value::Null)), None, "a command's attempt is no turn");
    }

    #[test]
    fn a_finished_run_is_told_with_its_status() {
        let event =
            json!({"type": "run_finished", "data": {"outcome": {"failed": {"detail": "stage:x:failed"}}}});
        let message = told(event).unwrap();
        assert_eq!(message.kind, NotificationKind::RunFinished);
        assert_eq!(message.body["status"], "failed");
        assert_eq!(message.body["detail"], "stage:x:failed");
        assert_eq!(message.id, "r/7");
    }

    #[test]
    fn a_message_always_fits_into_one_argument() {
        let text = "\u{1}".repeat(LONGEST_TEXT * 2);
        let agent = json!({"thread": null, "usage": null, "commands_run": 0, "last_message": text});
        let length = told(attempt(&agent)).unwrap().body.to_string().len();
        assert!(length < 128 * 1024, "{length}");
    }

    #[test]
    fn kinds_read_as_they_are_spelled() {
        for kind in NotificationKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        assert!("smoke".parse::<NotificationKind>().is_err());
    }
}
