//! What the HUD is given: one state of a run, its log, and the trait that delivers both.

use std::fmt::Write as _;
use std::task::Waker;
use std::time::Duration;

use co_model::{RunStatus, StageStatus};

use crate::text;

/// One state of a run, complete enough to be drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The run's id.
    pub run: String,
    /// The task's id.
    pub task: String,
    /// The pipeline's title or id.
    pub pipeline: String,
    /// Where the run stands.
    pub status: RunStatus,
    /// Why it stands there, as manifests spell it.
    pub status_detail: Option<String>,
    /// How long the run has taken; stands still once it is over.
    pub elapsed: Duration,
    /// The stages in pipeline order, a nested pipeline's below the stage that owns them.
    pub stages: Vec<StageRow>,
    /// The question a person has to answer now.
    pub question: Option<Question>,
    /// Where the manifest is.
    pub manifest: String,
    /// Where the run's log is.
    pub log: String,
}

/// One stage of a [`Frame`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageRow {
    /// Unique within the frame; a stage of a nested pipeline carries its run or its parents in it.
    pub id: String,
    /// Shown to people.
    pub title: String,
    /// What the stage does.
    pub kind: StageKind,
    /// Where it stands.
    pub status: StageStatus,
    /// How long it has taken, once it has begun.
    pub elapsed: Option<Duration>,
    /// The attempt under way or the last one, from 1; 0 before the first.
    pub attempt: u32,
    /// What came of it.
    pub summary: Option<String>,
    /// What its agent is doing.
    pub agent: Option<AgentActivity>,
    /// How many pipelines the stage is nested in.
    pub depth: u16,
}

/// What a stage does, as far as the HUD tells it apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StageKind {
    /// Runs a program.
    Command,
    /// Gives a coding agent a task.
    Agent,
    /// Waits for a person's yes or no.
    Gate,
    /// Runs another pipeline.
    Pipeline,
    /// Calls a tool of an MCP server.
    Mcp,
}

/// What an agent is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentActivity {
    /// The agent's conversation, once it is known.
    pub thread: Option<String>,
    /// Tokens the conversation has used so far.
    pub tokens: u64,
    /// The newest thing the agent did or said.
    pub last: String,
}

/// A question that is open, with the identity its answer is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Comes back in [`Action::Answer`].
    pub id: String,
    /// The whole text; may have several lines.
    pub text: String,
}

/// What the person asks of the run. Looking around (selection, scrolling, leaving) is no action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Cancel the run; its processes get their grace.
    Cancel,
    /// End the run's processes at once; follows a [`Action::Cancel`].
    CancelNow,
    /// Answer a question that was wholly on the screen.
    Answer {
        /// The id of the question that was shown.
        question: String,
        /// Yes or no.
        yes: bool,
    },
}

/// Where a line of a log came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogStream {
    /// The program's stdout, or the one stream of a terminal.
    Output,
    /// The program's stderr.
    Error,
    /// The orchestrator's own words.
    Note,
}

/// One line of a log, as it was written: the HUD makes it harmless when it draws it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Where the line came from.
    pub stream: LogStream,
    /// The line without its line feed.
    pub text: String,
}

/// A part of a log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogWindow {
    /// The number of the first line, counted from the log's beginning.
    pub first: u64,
    /// The lines, oldest first.
    pub lines: Vec<LogLine>,
    /// How many lines the log has had; the number of the next one.
    pub total: u64,
}

/// Delivers a run's states to the HUD and takes the person's actions.
///
/// All calls come from the thread that called [`run`](crate::run) and are made while it draws:
/// they must answer from memory.
pub trait Source {
    /// Returns the newest state.
    fn frame(&mut self) -> Frame;

    /// Returns up to `limit` lines below line number `end`, or the newest when `end` is `None`.
    ///
    /// `stage` is a [`StageRow::id`]; `None` asks for the run's log. When lines near `end` are no
    /// longer kept, the window moves towards newer lines, so that it is full if it can be.
    /// [`LogBuffer::window`](crate::LogBuffer::window) does exactly this.
    fn log(&mut self, stage: Option<&str>, end: Option<u64>, limit: usize) -> LogWindow;

    /// Takes an action; the effect shows in a later frame.
    fn act(&mut self, action: Action);

    /// Receives the waker to be woken, from any thread, whenever the frame or a log has changed.
    ///
    /// Waking is cheap and may be done as often as wished: the HUD draws at most 25 times a second.
    fn subscribe(&mut self, waker: Waker);

    /// Says how often to look when nothing wakes the HUD; a source that polls may ask for less.
    fn refresh_interval(&self) -> Duration {
        Duration::from_secs(1)
    }
}

impl Frame {
    /// Whether the run will not go on by itself, so that there is nothing left to watch.
    ///
    /// An interrupted run has no owner: only `resume` moves it, and that is another command.
    pub fn is_at_rest(&self) -> bool {
        match self.status {
            RunStatus::Queued | RunStatus::InProgress => false,
            RunStatus::Interrupted | RunStatus::Succeeded | RunStatus::Failed | RunStatus::Cancelled => true,
        }
    }
}

/// The symbol and the words of a run's status; the words are the manifest's, spaced.
pub(crate) const fn run_status(status: RunStatus) -> (&'static str, &'static str) {
    match status {
        RunStatus::Queued => ("·", "queued"),
        RunStatus::InProgress => ("▸", "in progress"),
        RunStatus::Interrupted => ("⏸", "interrupted"),
        RunStatus::Succeeded => ("✓", "succeeded"),
        RunStatus::Failed => ("✗", "failed"),
        RunStatus::Cancelled => ("■", "cancelled"),
    }
}

/// The symbol of a stage's status.
pub(crate) const fn stage_symbol(status: StageStatus) -> &'static str {
    match status {
        StageStatus::Pending => "·",
        StageStatus::Running => "▸",
        StageStatus::Waiting => "?",
        StageStatus::Succeeded => "✓",
        StageStatus::Failed => "✗",
        StageStatus::Skipped => "–",
        StageStatus::Cancelled => "■",
    }
}

/// Writes a frame as plain text for the normal screen, so that the last state stays in the
/// scrollback once the HUD is gone.
///
/// Ends with a line feed; holds no colour and no control character of the run's.
pub fn final_text(frame: &Frame) -> String {
    let (symbol, words) = run_status(frame.status);
    let mut out = format!(
        "{symbol} {words}  task {} · {} · {}\n",
        text::spelled(&frame.task),
        text::spelled(&frame.pipeline),
        text::span(frame.elapsed)
    );
    let mut line = |label: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{label}{}", text::spelled(value));
    };
    if let Some(detail) = &frame.status_detail {
        line("  ", detail);
    }
    for stage in &frame.stages {
        let mut tail = stage.title.clone();
        if let Some(elapsed) = stage.elapsed {
            let _ = write!(tail, "  {}", text::span(elapsed));
        }
        if stage.attempt > 1 {
            let _ = write!(tail, "  attempt {}", stage.attempt);
        }
        if let Some(summary) = &stage.summary {
            let _ = write!(tail, "  {summary}");
        }
        let indent = " ".repeat(2 + 2 * usize::from(stage.depth));
        line(&format!("{indent}{} ", stage_symbol(stage.status)), &tail);
    }
    line("run       ", &frame.run);
    line("manifest  ", &frame.manifest);
    line("log       ", &frame.log);
    out
}
