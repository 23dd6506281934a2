//! Questions asked on the terminal of whoever follows a run.
//!
//! One more way into the run's inbox, beside `answer`, the HUD and MCP: the first answer counts. The
//! terminal is read as `/dev/tty`, so that a redirected standard input neither answers nor starves, and
//! only while a question is open and we are in its foreground.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use co_log::{Settlement, Submitted};
use co_model::{CallId, Command, CommandKey, Envelope, Event, GrantScope, Recorded, RunId, StageId, Verdict};
use co_process::is_in_foreground;
use co_runtime::Orchestrator;
use co_views::{OpenQuestionView, open_questions};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::termios::{QueueSelector, isatty, tcflush};

use crate::args::Format;
use crate::bound::lines_of;
use crate::context::Context;
use crate::output::{BOLD, DIM, YELLOW, harmless, paint};

/// The longest line that is taken for an answer, in bytes.
const LONGEST_LINE: usize = 256;
/// The largest request that is shown whole; a larger one is not asked about here.
const LARGEST_SHOWN: usize = 16 << 10;

/// Asks the questions of one run, one after the other.
pub(crate) struct Prompt<'a> {
    context: &'a Context,
    orchestrator: &'a Orchestrator,
    run: RunId,
    terminal: Option<File>,
    state: State,
    /// The questions that the person was told of and that nobody has answered, as far as we know.
    announced: Vec<Asked>,
    /// Whether questions came or went since we looked.
    stale: bool,
    typed: Vec<u8>,
}

enum State {
    /// Nothing is asked.
    Idle,
    /// A question is on the terminal.
    Asking(Asked),
    /// Its answer is on its way to the run's owner.
    Submitted(CommandKey),
}

#[derive(PartialEq, Eq)]
struct Asked {
    stage: StageId,
    call: Option<CallId>,
}

/// What a person may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Answer {
    verdict: Verdict,
    scope: GrantScope,
}

impl<'a> Prompt<'a> {
    /// Asks on the terminal when there is one and people are meant.
    pub(crate) fn new(context: &'a Context, orchestrator: &'a Orchestrator, run: &RunId) -> Self {
        let for_people = context.format == Format::Text && !context.notes.quiet && isatty(io::stderr());
        let open = || {
            let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY).bits()).ok()?;
            OpenOptions::new().read(true).write(true).custom_flags(flags).open("/dev/tty").ok()
        };
        let terminal = if for_people { open() } else { None };
        let (run, state) = (run.clone(), State::Idle);
        Self {
            context,
            orchestrator,
            run,
            terminal,
            state,
            announced: Vec::new(),
            stale: false,
            typed: Vec::new(),
        }
    }

    /// Takes notice of an event that is shown to the person already.
    pub(crate) fn notice(&mut self, recorded: &Recorded) {
        let asked =
            |stage: &StageId, call: &Option<CallId>| Asked { stage: stage.clone(), call: call.clone() };
        match &recorded.event {
            Event::QuestionAsked { stage, call, .. } => self.announced.push(asked(stage, call)),
            Event::QuestionAnswered { stage, call, .. } | Event::QuestionExpired { stage, call } => {
                let gone = asked(stage, call);
                self.announced.retain(|known| *known != gone);
            }
            Event::CallFinished { .. } | Event::RunFinished { .. } => {}
            _ => return,
        }
        self.stale = true;
    }

    /// Asks what is to be asked, and takes what was typed. Never blocks; a terminal that fails, or that the
    /// person closed, is left alone, and others may answer.
    pub(crate) fn attend(&mut self) {
        if let Some(terminal) = self.terminal.take()
            && self.attend_to(&terminal).is_ok()
        {
            self.terminal = Some(terminal);
        }
    }

    fn attend_to(&mut self, terminal: &File) -> io::Result<()> {
        if let State::Submitted(key) = &self.state {
            // A log that cannot be read just now is read at the next look.
            if let Ok(Some(Submitted::Settled(settlement))) = self.orchestrator.settlement(&self.run, key) {
                self.settled(&settlement)?;
            }
        }
        if std::mem::take(&mut self.stale) {
            self.look(terminal)?;
        }
        if matches!(self.state, State::Asking(_))
            && is_in_foreground(terminal)?
            && let Some(line) = self.line(terminal)?
        {
            self.heard(&line)?;
        }
        Ok(())
    }

    fn settled(&mut self, settlement: &Settlement) -> io::Result<()> {
        self.state = State::Idle;
        self.stale = true;
        match settlement {
            Settlement::Accepted => Ok(()),
            Settlement::Refused { detail } => {
                say(&paint(YELLOW, &format!("  refused: {}\n", harmless(detail))))
            }
        }
    }

    /// Looks at which questions are open, and asks the first unless it is asked already.
    fn look(&mut self, terminal: &File) -> io::Result<()> {
        let Ok(snapshot) = self.orchestrator.snapshot(&self.run) else { return Ok(()) };
        let open = open_questions(&snapshot.state);
        if let State::Asking(asked) = &self.state {
            if open.iter().any(|question| asked.is(question)) {
                return Ok(());
            }
            say("\n")?;
            self.state = State::Idle;
        }
        // The log may be ahead of what was shown; a question comes after its own line.
        let told = |question: &&OpenQuestionView| self.announced.iter().any(|asked| asked.is(question));
        match (&self.state, open.iter().find(told)) {
            (State::Idle, Some(question)) => self.ask(terminal, question),
            _ => Ok(()),
        }
    }

    fn ask(&mut self, terminal: &File, question: &OpenQuestionView) -> io::Result<()> {
        let Ok(stage) = StageId::new(&question.stage_id) else { return Ok(()) };
        let details = question.request.as_ref().map(lines_of).unwrap_or_default();
        if details.len() > LARGEST_SHOWN {
            let whole = format!("codex-orchestrator approvals questions --run {} --json", self.run);
            return say(&paint(DIM, &format!("  too long to be asked here; all of it: {whole}\n")));
        }
        // What was typed before the question was there is no answer to it.
        tcflush(terminal, QueueSelector::IFlush)?;
        self.typed.clear();
        say(&paint(DIM, &details))?;
        self.state = State::Asking(Asked { stage, call: question.call_id.clone().map(CallId) });
        self.offer()
    }

    /// Shows what may be answered.
    fn offer(&self) -> io::Result<()> {
        let State::Asking(asked) = &self.state else { return Ok(()) };
        let choices = match (&asked.call, self.context.session()) {
            (None, _) => "[y]es  [n]o",
            (Some(_), None) => "[y]es, once  in this [r]un  for this [t]ask  [a]lways  [n]o",
            (Some(_), Some(_)) => {
                "[y]es, once  in this [r]un  in this [s]ession  for this [t]ask  [a]lways  [n]o"
            }
        };
        say(&format!("  {} › ", paint(BOLD, choices)))
    }

    /// Takes a line as the answer.
    fn heard(&mut self, line: &str) -> io::Result<()> {
        let State::Asking(asked) = &self.state else { return Ok(()) };
        let Some(answer) = Answer::parse(line, asked.call.is_some()) else { return self.offer() };
        let now = self.orchestrator.now();
        let envelope = Envelope {
            key: CommandKey(format!("prompt:{}:{}", std::process::id(), now.as_millis())),
            actor: self.context.settings.actor.value.clone(),
            sent_at: now,
            command: Command::Answer {
                stage: Some(asked.stage.clone()),
                call: asked.call.clone(),
                scope: answer.scope,
                verdict: answer.verdict,
                reason: None,
            },
        };
        match self.orchestrator.submit(&self.run, &envelope) {
            Ok(Submitted::Settled(settlement)) => self.settled(&settlement),
            Ok(Submitted::Open) => {
                self.state = State::Submitted(envelope.key);
                Ok(())
            }
            Err(error) => {
                say(&paint(YELLOW, &format!("  not sent: {}\n", harmless(&error.to_string()))))?;
                self.offer()
            }
        }
    }

    /// The next whole line, if one was typed. An error when the terminal is gone or closed.
    fn line(&mut self, mut terminal: &File) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = self.typed.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.typed.drain(..=end).collect();
                return Ok(Some(String::from_utf8_lossy(&line).trim().to_owned()));
            }
            let now = Timespec { tv_sec: 0, tv_nsec: 0 };
            if poll(&mut [PollFd::new(terminal, PollFlags::IN)], Some(&now))? == 0 {
                return Ok(None);
            }
            let mut buffer = [0; LONGEST_LINE];
            match terminal.read(&mut buffer) {
                Ok(0) => {
                    say("\n")?;
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Ok(count) => self.typed.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
            // Nobody types that much; its end, if it has one, is no answer either.
            if self.typed.len() > LONGEST_LINE {
                self.typed.clear();
            }
        }
    }
}

fn say(text: &str) -> io::Result<()> {
    let mut out = anstream::stderr();
    out.write_all(text.as_bytes())?;
    out.flush()
}

impl Asked {
    fn is(&self, question: &OpenQuestionView) -> bool {
        self.stage.as_str() == question.stage_id
            && self.call.as_ref().map(|call| call.0.as_str()) == question.call_id.as_deref()
    }
}

impl Answer {
    fn parse(line: &str, is_call: bool) -> Option<Self> {
        let yes = |scope| Some(Self { verdict: Verdict::Approve, scope });
        match line.to_ascii_lowercase().as_str() {
            "y" | "yes" => yes(GrantScope::Once),
            "n" | "no" => Some(Self { verdict: Verdict::Deny, scope: GrantScope::Once }),
            "r" | "run" if is_call => yes(GrantScope::Run),
            "s" | "session" if is_call => yes(GrantScope::Session),
            "t" | "task" if is_call => yes(GrantScope::Task),
            "a" | "always" if is_call => yes(GrantScope::Always),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_words_or_their_first_letters() {
        let scope = |line| Answer::parse(line, true).map(|answer| (answer.verdict, answer.scope));
        assert_eq!(scope("Y"), Some((Verdict::Approve, GrantScope::Once)));
        assert_eq!(scope("run"), Some((Verdict::Approve, GrantScope::Run)));
        assert_eq!(scope("s"), Some((Verdict::Approve, GrantScope::Session)));
        assert_eq!(scope("task"), Some((Verdict::Approve, GrantScope::Task)));
        assert_eq!(scope("a"), Some((Verdict::Approve, GrantScope::Always)));
        assert_eq!(scope("no"), Some((Verdict::Deny, GrantScope::Once)));
        assert_eq!((scope(""), scope("yess"), scope("ja")), (None, None, None));
    }

    #[test]
    fn a_gate_has_no_scope() {
        assert_eq!(Answer::parse("a", false), None);
        assert!(Answer::parse("y", false).is_some());
    }
}
