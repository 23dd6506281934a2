//! One attempt at a command or agent stage, on a thread of its own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use co_engine::{Input, RunState};
use co_model::{
    AttemptExit, AttemptReport, CommandLine, McpStage, OutputStats, SandboxMode, SandboxPolicy, Stage,
    StageWork, StreamStats, ThreadId,
};
use co_process::{Capture, Exit, Limits, Observer, ProcessIdentity, Program, Report, RunError, StopSignal};

use crate::agent::Voice;
use crate::confine::{Confined, confine};
use crate::orchestrator::Shared;
use crate::owner::Wake;
use crate::redaction::Guarded;
use crate::{agent, environment, evidence, mcp, session};

/// Everything an attempt needs; nothing of it is shared with the owner but the stop signal, the
/// agent's voice and the way back.
pub(crate) struct Attempt {
    pub(crate) shared: Arc<Shared>,
    /// The run as it was when the attempt began.
    pub(crate) state: RunState,
    pub(crate) stage: Stage,
    pub(crate) number: u32,
    pub(crate) thread: Option<ThreadId>,
    pub(crate) steer: Vec<String>,
    /// The sandbox of a command; an agent is confined by its own.
    pub(crate) sandbox: SandboxPolicy,
    pub(crate) stop: StopSignal,
    /// The way for the owner to speak with an agent.
    pub(crate) voice: Voice,
    pub(crate) owner: SyncSender<Wake>,
}

/// What a program left behind, before anything is made of it.
pub(crate) struct Ran {
    pub(crate) exit: AttemptExit,
    pub(crate) elapsed: Duration,
    pub(crate) output: OutputStats,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) survivors_killed: u32,
    /// The class of a failure that passes by itself.
    pub(crate) transient: Option<String>,
    /// How often the privacy guard has taken something away, by rule.
    pub(crate) redactions: BTreeMap<String, u64>,
}

impl Attempt {
    /// Makes the attempt and reports to the owner, whatever happens.
    pub(crate) fn make(mut self) {
        let opened = self.shared.sealed.open(&self.state.created.pipeline.id, &self.stage);
        self.shared.sealed.open_description(&mut self.state);
        let report = match opened {
            Ok(stage) => {
                self.stage = stage;
                self.perform()
            }
            Err(error) => self.not_started(error.to_string()),
        };
        let (stage, attempt) = (self.stage.id.clone(), self.number);
        self.tell(Input::AttemptFinished { stage, attempt, report: Box::new(report) });
    }

    fn perform(&self) -> AttemptReport {
        match &self.stage.work {
            StageWork::Command(line) => self.command(line),
            StageWork::Mcp(work) => self.tool(work),
            StageWork::Agent(work) => agent::turn(self, work),
            StageWork::Gate(_) | StageWork::Pipeline(_) => {
                self.not_started("the stage has no program".to_owned())
            }
        }
    }

    fn command(&self, line: &CommandLine) -> AttemptReport {
        if let Some(wanted) = &self.stage.session {
            return session::command(self, line, wanted);
        }
        let argv: Vec<OsString> = match line {
            CommandLine::Shell(text) => vec!["/bin/sh".into(), "-c".into(), text.into()],
            CommandLine::Argv(words) => words.iter().map(OsString::from).collect(),
        };
        let program = self.program(argv, co_process::Stdin::Null, Vec::new());
        let ran = match self.confined(program) {
            Ok(ran) => ran,
            Err(missing) => return self.not_started(missing),
        };
        let sandboxed = self.sandbox.mode != SandboxMode::DangerFullAccess;
        let denied = ran.was_denied(sandboxed);
        AttemptReport { sandbox_denied: denied, ..self.judged(ran) }
    }

    /// Calls a tool of an MCP server, through a program of ours: it reads the server's definition itself, so
    /// that no secret of it comes near a command line or the log.
    fn tool(&self, work: &McpStage) -> AttemptReport {
        let program = match mcp::call(self, work) {
            Ok(program) => program,
            Err(missing) => return self.not_started(missing),
        };
        match self.confined(program) {
            Ok(ran) => self.judged(ran),
            Err(missing) => self.not_started(missing),
        }
    }

    /// Runs a program in the attempt's sandbox.
    fn confined(&self, mut program: Program) -> Result<Ran, String> {
        let confined = confine(self, std::mem::take(&mut program.argv), &program.env)?;
        program.argv.clone_from(&confined.argv);
        program.env.extend(confined.additions.iter().cloned());
        Ok(self.run(&program, &mut Starting { attempt: self, confined: &confined }))
    }

    /// The report on a program, with the verdict that it may have printed.
    fn judged(&self, ran: Ran) -> AttemptReport {
        let verdict = evidence::verdict(self.stage.role, &ran.stdout);
        let mut report = self.report(ran);
        report.selection = verdict.selection;
        report.objection = verdict.objection;
        report
    }

    /// The directory the stage runs in.
    pub(crate) fn cwd(&self) -> PathBuf {
        stage_cwd(&self.state, &self.stage)
    }

    /// The whole environment of the attempt.
    pub(crate) fn environment(&self) -> Vec<(OsString, OsString)> {
        environment::compose(
            &self.shared.options.environment,
            &self.state,
            &self.shared.options.layout,
            &self.stage,
            self.number,
        )
    }

    pub(crate) fn program(
        &self,
        argv: Vec<OsString>,
        stdin: co_process::Stdin,
        additions: Vec<(OsString, OsString)>,
    ) -> Program {
        let mut env = self.environment();
        env.retain(|(name, _)| !additions.iter().any(|(added, _)| added == name));
        env.extend(additions);
        let terminal = if self.stage.tty {
            co_process::Terminal::Pty { rows: 24, columns: 80 }
        } else {
            co_process::Terminal::Pipes
        };
        Program { argv, cwd: self.cwd(), env, stdin, terminal }
    }

    /// Runs a program to the end of its group, with its output going to the attempt's log.
    pub(crate) fn run(&self, program: &Program, observer: &mut dyn Observer) -> Ran {
        let capture = self.capture();
        let limits = Limits { timeout: self.stage.timeout, ..Limits::default() };
        let Some(spawner) = &self.shared.spawner else {
            return Ran::without(AttemptExit::NotStarted {
                reason: "this process cannot start programs".to_owned(),
            });
        };
        let mut guarded = Guarded::new(&self.shared.options.guard, observer);
        let ran = match co_process::run(spawner, program, &capture, &limits, &self.stop, &mut guarded) {
            Ok(report) => Ran::of(&report),
            Err(error) => Ran { transient: transient(&error), ..Ran::without(exit_of(&error)) },
        };
        Ran { redactions: guarded.counts(), ..ran }
    }

    /// Where the attempt's output goes.
    pub(crate) fn capture(&self) -> Capture {
        let created = &self.state.created;
        let layout = &self.shared.options.layout;
        // A folder that somebody has removed is made again; what fails is told by the capture.
        drop(std::fs::create_dir_all(layout.logs_dir(&created.task, &created.run)));
        Capture {
            log: layout.attempt_log(&created.task, &created.run, &self.stage.id, self.number),
            index: layout.attempt_index(&created.task, &created.run, &self.stage.id, self.number),
        }
    }

    pub(crate) fn report(&self, ran: Ran) -> AttemptReport {
        let (produced, missing_outputs) = match ran.exit {
            AttemptExit::Code(0) => evidence::outputs(&self.stage, &self.cwd()),
            _ => Default::default(),
        };
        AttemptReport {
            summary: evidence::summary(&self.stage, &ran.exit, &ran.stdout, &ran.stderr),
            duration: ran.elapsed,
            output: ran.output,
            survivors_killed: ran.survivors_killed,
            transient: ran.transient,
            redactions: ran.redactions,
            produced,
            missing_outputs,
            ..AttemptReport::new(ran.exit)
        }
    }

    pub(crate) fn not_started(&self, reason: String) -> AttemptReport {
        self.report(Ran::without(AttemptExit::NotStarted { reason }))
    }

    /// Sends an observation; an owner that is gone has no use for it.
    pub(crate) fn tell(&self, input: Input) {
        drop(self.owner.send(Wake::Input(Box::new(input))));
    }

    pub(crate) fn tell_started(&self, identity: &ProcessIdentity, confined: Option<&Confined>) {
        self.tell(Input::AttemptStarted {
            stage: self.stage.id.clone(),
            attempt: self.number,
            process: identity.to_string(),
            layers: confined.map(|confined| confined.layers.clone()).unwrap_or_default(),
            weaker: confined.and_then(|confined| confined.weaker.clone()),
        });
    }
}

/// Reports the process as soon as there is one.
struct Starting<'a> {
    attempt: &'a Attempt,
    confined: &'a Confined,
}

impl Observer for Starting<'_> {
    fn started(&mut self, identity: &ProcessIdentity) {
        self.attempt.tell_started(identity, Some(self.confined));
    }
}

impl Ran {
    fn of(report: &Report) -> Self {
        let stats = |stream: &co_process::StreamStats| StreamStats { bytes: stream.bytes };
        Self {
            exit: match report.exit {
                Exit::Code(code) => AttemptExit::Code(code),
                Exit::Signal(signal) => AttemptExit::Signal(signal),
                Exit::TimedOut { after } => {
                    AttemptExit::TimedOut { after_ms: u64::try_from(after.as_millis()).unwrap_or(u64::MAX) }
                }
                Exit::Cancelled => AttemptExit::Cancelled,
                Exit::Lost => AttemptExit::Lost,
            },
            elapsed: report.elapsed,
            output: OutputStats { stdout: stats(&report.stdout), stderr: stats(&report.stderr) },
            stdout: report.stdout.excerpt.text(),
            stderr: report.stderr.excerpt.text(),
            survivors_killed: report.survivors_killed,
            transient: None,
            redactions: BTreeMap::new(),
        }
    }

    /// Whether the sandbox, as far as can be told, stopped the program.
    pub(crate) fn was_denied(&self, sandboxed: bool) -> bool {
        let (exit, signal) = match &self.exit {
            AttemptExit::Code(code) => (Some(*code), None),
            AttemptExit::Signal(signal) => (None, Some(*signal)),
            _ => return false,
        };
        let said = |text: &str| {
            co_policy::denial::is_likely_sandbox_denied(sandboxed, exit, signal, text.as_bytes())
        };
        said(&self.stderr) || said(&self.stdout)
    }

    pub(crate) fn without(exit: AttemptExit) -> Self {
        Self {
            exit,
            elapsed: Duration::ZERO,
            output: OutputStats::default(),
            stdout: String::new(),
            stderr: String::new(),
            survivors_killed: 0,
            transient: None,
            redactions: BTreeMap::new(),
        }
    }
}

/// The class of a failure to start that passes by itself.
fn transient(error: &RunError) -> Option<String> {
    let system = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source())
        .find_map(|error| error.downcast_ref::<std::io::Error>())?;
    let class = co_policy::transient::class(co_policy::transient::StartFailure::System(system));
    (class == co_policy::transient::Class::Transient).then(|| format!("{:?}", system.kind()))
}

fn exit_of(error: &RunError) -> AttemptExit {
    let reason = chain(error);
    match error {
        RunError::Capture { .. } => AttemptExit::NotRecorded { reason },
        RunError::Survivors { .. } => AttemptExit::Lost,
        _ => AttemptExit::NotStarted { reason },
    }
}

/// The directory a stage runs in.
pub(crate) fn stage_cwd(state: &RunState, stage: &Stage) -> PathBuf {
    let workspace = Path::new(&state.created.settings.workspace);
    stage.cwd.as_ref().map_or_else(|| workspace.to_owned(), |cwd| workspace.join(cwd))
}

/// An error with its causes, each once, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
