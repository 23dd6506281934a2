//! What `exec` asks of the runtime: a pipeline of one stage.

use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal as _, Read as _};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::time::Duration;

use co_agents::driver_for;
use co_model::{
    AgentStage, ApprovalPolicy, CommandLine, Pipeline, PipelineId, PipelineSource, Prompt, RunId,
    RunSettings, SandboxMode, Stage, StageId, StageWork, ToolPolicy,
};
use co_runtime::{Orchestrator, RuntimeError, StartRequest};
use indexmap::IndexMap;

use super::{EXEC, Manner};
use crate::args::{Dialect, ExecArguments, ExecVerb};
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::policy::{FullAuto, PolicyOptions, Sandbox};

/// The longest prompt on standard input, in bytes.
const LONGEST_PROMPT: u64 = 1 << 20;
/// The agent when none is named and Codex's own command line is spoken.
const CODEX: &str = "codex";
/// Longest part of a prompt that becomes a title, in characters.
const LONGEST_TITLE: usize = 120;

/// An earlier conversation.
struct Earlier {
    thread: String,
    agent: Option<String>,
    run: Option<RunId>,
}

/// Refuses options that make no sense together, before anything is looked at or started.
///
/// # Errors
/// A wrong use, with the option that is to blame.
pub(super) fn check(arguments: &ExecArguments, manner: Manner) -> Result<(), CliError> {
    let usage = |message: String| CliError::new(Exit::Usage, message);
    if let Some(agent) = &arguments.agent {
        driver_for(agent).map_err(|error| CliError::of(Exit::Usage, &error))?;
        return Ok(());
    }
    if arguments.verb.is_some() {
        return Ok(());
    }
    if manner == Manner::Lines(Dialect::Codex) {
        let is_prompt = match &arguments.words[..] {
            [] => true,
            // Codex's own command line takes a prompt here.
            [word] => arguments.experimental_json || word == "-",
            _ => false,
        };
        return if is_prompt {
            Ok(())
        } else {
            let message = "only Codex prints its own lines, and without an agent these words are a command";
            Err(usage(message.to_owned())
                .hint("--agent codex gives Codex a prompt")
                .hint("--jsonl prints the events of a command"))
        };
    }
    let passed_on = arguments.codex.words();
    let passed_on = passed_on.first().and_then(|word| word.split('=').next());
    match arguments.model.as_ref().map(|_| "--model").or(passed_on) {
        Some(option) => Err(usage(format!("`{option}` is for an agent, and this is a command"))
            .hint("--agent codex gives Codex a prompt")),
        None => Ok(()),
    }
}

/// What holds for the run, and the flags that say so.
pub(super) fn policy(
    context: &Context,
    arguments: &ExecArguments,
    manner: Manner,
) -> Result<(PolicyOptions, ToolPolicy), CliError> {
    let options = policy_options(context, arguments, manner == Manner::Lines(Dialect::Codex))?;
    let policy = context.policy_for(&options, [])?;
    Ok((options, policy))
}

/// Asks for the run.
pub(super) fn request(
    context: &Context,
    orchestrator: &Orchestrator,
    arguments: &ExecArguments,
    manner: Manner,
    (options, policy): (PolicyOptions, ToolPolicy),
) -> Result<StartRequest, CliError> {
    let in_codex_dialect = manner == Manner::Lines(Dialect::Codex);
    let earlier = match &arguments.verb {
        Some(ExecVerb::Resume(resume)) => Some(earlier(orchestrator, &resume.id)?),
        None => None,
    };
    let agent = arguments.agent.clone().or_else(|| earlier.as_ref()?.agent.clone());
    let agent = agent.or_else(|| (in_codex_dialect || earlier.is_some()).then(|| CODEX.to_owned()));
    if let (true, Some(other)) = (in_codex_dialect, agent.as_deref().filter(|agent| *agent != CODEX)) {
        let message = format!("only Codex prints its own lines; `{other}` does not");
        return Err(CliError::new(Exit::Usage, message));
    }
    let (work, title, description) = if let Some(agent) = agent {
        let prompt = prompt(arguments)?;
        let title = title(&prompt);
        let work = agent_stage(context, agent, &options, arguments, earlier.as_ref());
        (StageWork::Agent(work), title, Some(prompt))
    } else {
        let argv = command(arguments)?;
        let title = shown(&argv);
        (StageWork::Command(CommandLine::Argv(argv)), title, None)
    };
    let settings = RunSettings {
        actor: Some(context.settings.actor.value.clone()),
        approval_policy: Some(policy.approval.as_str().to_owned()),
        policy,
        description,
        session: context.session(),
        parent: earlier.and_then(|earlier| earlier.run),
        ..RunSettings::default()
    };
    let cwd = working_directory(context);
    let Some(cwd) = cwd.to_str() else {
        let message = format!("the directory `{}` is no UTF-8 and cannot be recorded", cwd.display());
        return Err(CliError::new(Exit::Usage, message));
    };
    let cwd = (Path::new(cwd) != context.layout.root).then(|| cwd.to_owned());
    let pipeline =
        pipeline(cwd, work, title, arguments.timeout).map_err(|error| CliError::of(Exit::Bug, &error))?;
    Ok(StartRequest {
        task: context.settings.task.value.clone(),
        pipeline,
        nested: IndexMap::new(),
        settings,
        worktree: false,
    })
}

fn pipeline(
    cwd: Option<String>,
    work: StageWork,
    title: String,
    timeout: Option<Duration>,
) -> Result<Pipeline, co_model::IdError> {
    let stage = Stage { title: title.clone(), timeout, cwd, ..Stage::new(StageId::new(EXEC)?, work) };
    Ok(Pipeline {
        id: PipelineId::new(EXEC)?,
        title,
        description: None,
        tags: Vec::new(),
        guardrails_required: false,
        max_parallel: NonZeroU16::MIN,
        mcp_servers: Vec::new(),
        stages: vec![stage],
        source: PipelineSource::BuiltIn,
    })
}

/// Where one stands, or what `--cwd` says.
fn working_directory(context: &Context) -> PathBuf {
    context.environment.current_directory().unwrap_or(&context.layout.root).to_owned()
}

/// The flags, with what `--full-auto` and Codex's own settings among them mean.
fn policy_options(
    context: &Context,
    arguments: &ExecArguments,
    in_codex_dialect: bool,
) -> Result<PolicyOptions, CliError> {
    let mut options = arguments.policy.clone();
    if arguments.full_auto {
        let base: ToolPolicy = context.policy(&options)?.policy;
        options.widen = true;
        options.sandbox = Some(Sandbox::WorkspaceWrite);
        let asks = options.approval_policy.is_none() && base.approval != ApprovalPolicy::Never;
        if asks {
            options.approval_policy = Some(ApprovalPolicy::OnRequest);
        }
        options.full_auto = FullAuto { sandbox: true, approval_policy: asks };
    }
    if in_codex_dialect {
        let approval = arguments.codex.config.iter().rev().find_map(|setting| {
            let (key, value) = setting.split_once('=')?;
            (key.trim() == "approval_policy").then(|| value.trim().trim_matches('"').to_owned())
        });
        let approval = approval.and_then(|word| crate::policy::approval(&word).ok());
        options.approval_policy = options.approval_policy.or(approval);
        // Codex's own options replace its settings, and mean the same here; it is recorded.
        options.widen |= options.sandbox.is_some() || approval.is_some();
    }
    Ok(options)
}

fn agent_stage(
    context: &Context,
    agent: String,
    options: &PolicyOptions,
    arguments: &ExecArguments,
    earlier: Option<&Earlier>,
) -> AgentStage {
    let mut codex = arguments.codex.clone();
    if let Some(ExecVerb::Resume(resume)) = &arguments.verb {
        codex.images.extend(resume.images.iter().cloned());
    }
    let mut words = codex.words();
    if let Some(schema) = arguments.output_schema.as_ref().filter(|_| agent == CODEX) {
        let base = std::env::current_dir().unwrap_or_else(|_| context.layout.root.clone());
        words.push(format!("--output-schema={}", base.join(schema).display()));
    }
    AgentStage {
        agent,
        // The prompt is no template: it stands in the task's description, and is taken from there.
        prompt: Prompt::Text("{{ task.description }}".to_owned()),
        model: arguments.model.clone(),
        sandbox: options.sandbox.map(|sandbox| SandboxMode::from(sandbox).as_str().to_owned()),
        profile: options.profile.clone(),
        arguments: words,
        thread: earlier.map(|earlier| earlier.thread.clone()),
    }
}

/// The conversation of a run of ours, else one in the agent's own words.
fn earlier(orchestrator: &Orchestrator, id: &str) -> Result<Earlier, CliError> {
    let thread = Earlier { thread: id.to_owned(), agent: None, run: None };
    let Ok(run) = RunId::new(id) else { return Ok(thread) };
    let state = match orchestrator.snapshot(&run) {
        Ok(snapshot) => snapshot.state,
        Err(RuntimeError::UnknownRun(_)) => return Ok(thread),
        Err(error) => return Err(error.into()),
    };
    let talked = state.stages.iter().rev().find_map(|record| {
        let StageWork::Agent(work) = &record.definition.work else { return None };
        let outcome = record.last_report()?.agent.as_ref()?;
        Some((outcome.thread.as_ref()?.0.clone(), work.agent.clone()))
    });
    let (thread, agent) = talked.ok_or_else(|| {
        CliError::new(Exit::Usage, format!("run `{run}` has no conversation with an agent"))
            .hint(format!("codex-orchestrator resume --run {run}"))
    })?;
    Ok(Earlier { thread, agent: Some(agent), run: Some(run) })
}

fn prompt(arguments: &ExecArguments) -> Result<String, CliError> {
    let given = match &arguments.verb {
        Some(ExecVerb::Resume(resume)) => resume.prompt.clone(),
        None => {
            let words: Vec<_> = arguments.words.iter().map(|word| word.to_string_lossy()).collect();
            (!words.is_empty()).then(|| words.join(" "))
        }
    };
    let given = given.filter(|prompt| prompt != "-");
    let prompt = match given {
        Some(prompt) => prompt,
        None => read_prompt()?,
    };
    if prompt.trim().is_empty() {
        return Err(CliError::new(Exit::Usage, "no prompt was given, and standard input holds none"));
    }
    Ok(prompt)
}

fn read_prompt() -> Result<String, CliError> {
    let mut input = std::io::stdin();
    if input.is_terminal() {
        return Err(CliError::new(Exit::Usage, "no prompt was given"));
    }
    let failed = |why: String| CliError::new(Exit::Usage, format!("no prompt could be read: {why}"));
    let mut text = String::new();
    let read = (&mut input).take(LONGEST_PROMPT + 1).read_to_string(&mut text);
    let read = read.map_err(|error| failed(error.to_string()))?;
    if read as u64 > LONGEST_PROMPT {
        return Err(failed("it is larger than 1 MiB".to_owned()));
    }
    Ok(text)
}

fn command(arguments: &ExecArguments) -> Result<Vec<String>, CliError> {
    if arguments.words.is_empty() {
        let error = CliError::new(Exit::Usage, "exec needs a command, or an agent and a prompt");
        return Err(error
            .hint("codex-orchestrator exec -- npm test")
            .hint("codex-orchestrator exec --agent codex \"Fix the failing test\""));
    }
    let text = |word: &OsString| {
        word.to_str().map(str::to_owned).ok_or_else(|| {
            CliError::new(Exit::Usage, format!("`{}` is no UTF-8 and cannot be recorded", word.display()))
        })
    };
    arguments.words.iter().map(text).collect()
}

fn shown(argv: &[String]) -> String {
    title(&shlex::try_join(argv.iter().map(String::as_str)).unwrap_or_else(|_| argv.join(" ")))
}

fn title(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let mut characters = line.chars();
    let kept: String = characters.by_ref().take(LONGEST_TITLE).collect();
    if characters.next().is_some() { format!("{kept}…") } else { kept }
}

/// The program of a command.
pub(super) fn program(stage: &Stage) -> Option<&str> {
    match &stage.work {
        StageWork::Command(CommandLine::Argv(argv)) => argv.first().map(String::as_str),
        _ => None,
    }
}

/// Whether there is such a file at all, executable or not.
pub(super) fn exists(context: &Context, program: &str) -> bool {
    if program.contains('/') {
        return working_directory(context).join(program).exists();
    }
    let path = context.environment.get("PATH").unwrap_or(OsStr::new("")).to_owned();
    std::env::split_paths(&path).any(|folder| Path::new(&folder).join(program).is_file())
}
