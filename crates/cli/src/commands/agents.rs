//! `agents`: which coding agents this machine has, and how well they are known.

use std::path::{Path, PathBuf};

use co_agents::survey::{Abilities, AgentSurvey, survey};
use co_process::Tool;
use serde_json::Value;

use crate::args::{AgentsCheckArguments, Format};
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::{DIM, Data, GREEN, RED, YELLOW, harmless, paint};

/// Said of the agents that every program can be.
const ACP_HINT: &str = "acp:<command> is any agent that speaks the Agent Client Protocol";

pub(crate) fn list(context: &Context) -> Exit {
    write(context, &look(context));
    if context.format == Format::Text {
        context.notes.progress(ACP_HINT);
    }
    Exit::Done
}

pub(crate) fn check(context: &Context, arguments: &AgentsCheckArguments) -> Result<Exit, CliError> {
    let mut found = look(context);
    if let Some(name) = &arguments.name {
        let known: Vec<&str> = found.iter().map(|survey| survey.agent).collect();
        let known = known.join(", ");
        found.retain(|survey| survey.agent == name);
        if found.is_empty() {
            let error = CliError::new(Exit::NotFound, format!("no agent is called `{name}`; known: {known}"));
            return Err(error.hint(ACP_HINT));
        }
    }
    write(context, &found);
    // Without a name, what this machine does not have is no fault of it.
    let missing = found.iter().any(|survey| survey.program.is_none());
    Ok(if missing && arguments.name.is_some() { Exit::Setup } else { Exit::Done })
}

fn look(context: &Context) -> Vec<AgentSurvey> {
    let environment = |name: &str| context.environment.get(name).map(std::ffi::OsStr::to_owned);
    let program = |agent: &str| -> Option<PathBuf> {
        context.settings.codex.value.clone().filter(|_| agent.starts_with("codex"))
    };
    let version = |program: &Path, arguments: &[&str]| {
        let mut tool = co_policy::environment::ours().fold(Tool::new(program), Tool::env_remove);
        for argument in arguments {
            tool = tool.arg(argument);
        }
        tool.run().ok().filter(co_process::ToolOutput::is_success).map(|output| output.stdout_text())
    };
    survey(&context.layout.root, &environment, &program, version)
}

fn write(context: &Context, found: &[AgentSurvey]) {
    let document = |survey: &AgentSurvey| serde_json::to_value(survey).unwrap_or(Value::Null);
    let mut data = if context.format == Format::Text { Data::styled() } else { Data::exact() };
    match context.format {
        Format::Text => found.iter().for_each(|survey| text(&mut data, survey)),
        Format::Json => {
            data.line(&format!("{:#}", Value::Array(found.iter().map(document).collect())));
        }
        Format::Jsonl => found.iter().for_each(|survey| data.line(&document(survey).to_string())),
    }
    data.flush();
}

fn text(data: &mut Data, survey: &AgentSurvey) {
    let (style, word) = match (&survey.program, survey.is_tested) {
        (None, _) => (RED, "missing"),
        (Some(_), false) => (YELLOW, "untested"),
        (Some(_), true) => (GREEN, "tested"),
    };
    let version = survey.version.as_deref().unwrap_or("-");
    let place = survey.program.as_ref().map(|program| program.display().to_string()).unwrap_or_default();
    let word = paint(style, &format!("{word:<8}"));
    data.line(&format!("{word}  {:<16}  {:<10}  {}", survey.agent, harmless(version), harmless(&place)));
    data.line(&paint(DIM, &format!("          {}", abilities(survey.abilities))));
    for warning in &survey.warnings {
        data.line(&format!("          {}", harmless(warning)));
    }
}

fn abilities(abilities: Abilities) -> String {
    let Abilities { resume, steer, approvals, usage, further_turns } = abilities;
    let named = [
        (resume, "resumes its conversation"),
        (steer, "hears messages within a turn"),
        (approvals, "asks for approval"),
        (usage, "counts tokens"),
        (further_turns, "takes several turns"),
    ];
    named.iter().filter(|(has, _)| *has).map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
}
