//! `doctor`: what this machine and this repository give, and what is missing.

pub(crate) mod sandbox;

use co_agents::instructions::{
    InstructionRequest, InstructionScope, InstructionSource, USUAL_PLACES, discover,
};
use co_log_sqlite::{OpenMode, SqliteLog};
use co_process::{Tool, containment};
use serde_json::{Value, json};

use crate::args::Format;
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::{Data, GREEN, RED, YELLOW, harmless, paint};

/// How a check came out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Health {
    Good,
    /// Something is missing that not everybody needs.
    Limited,
    Bad,
}

struct Check {
    name: &'static str,
    health: Health,
    detail: String,
    hint: Option<String>,
}

impl Check {
    fn good(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, health: Health::Good, detail: detail.into(), hint: None }
    }

    fn limited(name: &'static str, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { name, health: Health::Limited, detail: detail.into(), hint: Some(hint.into()) }
    }

    fn bad(name: &'static str, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { name, health: Health::Bad, detail: detail.into(), hint: Some(hint.into()) }
    }
}

pub(crate) fn doctor(context: &Context) -> Exit {
    let checks = [
        Check::good("containment", containment().to_string()),
        git(),
        codex(context),
        event_log(context),
        pipelines(context),
        instructions(context),
    ];
    let mut data = if context.format == Format::Text { Data::styled() } else { Data::exact() };
    match context.format {
        Format::Text => checks.iter().for_each(|check| text(&mut data, check)),
        Format::Json => {
            let list: Vec<Value> = checks.iter().map(document).collect();
            data.line(&format!("{:#}", Value::Array(list)));
        }
        Format::Jsonl => checks.iter().for_each(|check| data.line(&document(check).to_string())),
    }
    data.flush();
    let bad = checks.iter().any(|check| check.health == Health::Bad);
    if bad { Exit::Setup } else { Exit::Done }
}

fn word(health: Health) -> &'static str {
    match health {
        Health::Good => "ok",
        Health::Limited => "limited",
        Health::Bad => "bad",
    }
}

fn document(check: &Check) -> Value {
    json!({ "name": check.name, "health": word(check.health), "detail": check.detail, "hint": check.hint })
}

fn text(data: &mut Data, check: &Check) {
    let symbol = match check.health {
        Health::Good => paint(GREEN, "✓"),
        Health::Limited => paint(YELLOW, "!"),
        Health::Bad => paint(RED, "✗"),
    };
    let mut lines = check.detail.lines();
    data.line(&format!("{symbol} {:<12} {}", check.name, harmless(lines.next().unwrap_or_default())));
    lines.for_each(|line| data.line(&format!("               {line}")));
    if let Some(hint) = &check.hint {
        data.line(&format!("               hint: {hint}"));
    }
}

fn git() -> Check {
    match Tool::new("git").arg("--version").run() {
        Ok(output) if output.is_success() => Check::good("git", output.stdout_text().trim().to_owned()),
        Ok(output) => Check::bad("git", output.stderr_text(), "reinstall git"),
        Err(error) => Check::limited(
            "git",
            error.to_string(),
            "without git there are no worktrees, and file changes are only known from the agent",
        ),
    }
}

fn codex(context: &Context) -> Check {
    let lookup = |name: &str| context.environment.get(name).map(std::ffi::OsStr::to_owned);
    let request = co_agents::AgentRequest {
        program: context.settings.codex.value.as_deref(),
        ..co_agents::AgentRequest::new("codex", "version", &context.layout.root, &lookup)
    };
    let prepared = co_agents::driver_for("codex").and_then(|driver| driver.prepare(&request));
    let program = match prepared {
        Ok(launch) => launch.argv.into_iter().next().unwrap_or_default(),
        Err(error) => {
            let hint = error.hint().unwrap_or("agent stages need it; command stages do not");
            return Check::limited("codex", error.to_string(), hint);
        }
    };
    let tool = co_policy::environment::ours().fold(Tool::new(&program), Tool::env_remove);
    match tool.arg("--version").run() {
        Ok(output) if output.is_success() => {
            Check::good("codex", format!("{} at {}", output.stdout_text().trim(), program.display()))
        }
        Ok(output) => Check::limited("codex", output.stderr_text(), "reinstall codex"),
        Err(error) => Check::limited("codex", error.to_string(), "reinstall codex"),
    }
}

fn event_log(context: &Context) -> Check {
    let path = context.layout.database();
    if !path.exists() {
        return Check::good("event log", format!("none yet; the first run makes {}", path.display()));
    }
    let checked =
        SqliteLog::open(&path, OpenMode::ReadOnly).and_then(|log| log.verify().map(|()| log.note()));
    match checked {
        Ok(None) => Check::good("event log", format!("{} is sound", path.display())),
        Ok(Some(note)) => Check::limited("event log", format!("{} is sound", path.display()), note),
        Err(error) => {
            let error = CliError::from(error);
            let hint = error.hints().first().cloned().unwrap_or_default();
            Check::bad("event log", error.to_string(), hint)
        }
    }
}

fn pipelines(context: &Context) -> Check {
    match context.pipelines() {
        Ok(loaded) if loaded.set.pipelines.is_empty() => Check::limited(
            "pipelines",
            format!(
                "{} has no pipeline file, and nothing was recognised in it",
                context.layout.root.display()
            ),
            "codex-orchestrator init",
        ),
        Ok(loaded) => {
            let names: Vec<String> = loaded.set.pipelines.keys().map(ToString::to_string).collect();
            Check::good("pipelines", names.join(", "))
        }
        Err(error) => Check::bad(
            "pipelines",
            error.to_string(),
            "codex-orchestrator plan shows the same after each repair",
        ),
    }
}

fn instructions(context: &Context) -> Check {
    let path = |name: &str| context.environment.get(name).map(std::path::PathBuf::from);
    let root = &context.layout.root;
    let instructions = discover(&InstructionRequest {
        additional: USUAL_PLACES.map(str::to_owned).to_vec(),
        ..InstructionRequest::new(root, path("CODEX_HOME"), path("HOME"))
    });
    let source = |source: &InstructionSource| {
        let note = if source.scope == InstructionScope::Additional { " (not read by codex)" } else { "" };
        format!("{}{note}", context.layout.show(&source.path))
    };
    let sources: Vec<String> = instructions.sources.iter().map(source).collect();
    let detail = if sources.is_empty() { "no instruction files".to_owned() } else { sources.join(", ") };
    match instructions.warnings.first() {
        None => Check::good("instructions", detail),
        Some(warning) => Check::limited("instructions", detail, warning.clone()),
    }
}
