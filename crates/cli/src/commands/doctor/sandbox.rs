//! `doctor sandbox`: real escape attempts on this machine, in every mode.

use co_model::SandboxMode;
use co_sandbox::escape::{Attempts, Course, CourseNetwork, run};
use co_sandbox::{Layers, Sandbox};
use serde_json::json;

use crate::args::Format;
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::{Data, GREEN, RED, YELLOW, harmless, paint};

/// Every mode with the networks that are told apart in it.
const COURSES: [(SandboxMode, CourseNetwork, &str); 4] = [
    (SandboxMode::ReadOnly, CourseNetwork::Off, "read-only"),
    (SandboxMode::WorkspaceWrite, CourseNetwork::Off, "workspace-write"),
    (SandboxMode::WorkspaceWrite, CourseNetwork::On, "workspace-write, network on"),
    (SandboxMode::WorkspaceWrite, CourseNetwork::Allowed, "workspace-write, network allow-listed"),
];

/// Tries to break out of the sandbox and says what held. A layer that is missing, or does not
/// hold, gives a failing exit code.
pub(crate) fn doctor_sandbox(context: &Context, accept_weaker: bool) -> Result<Exit, CliError> {
    let helper = std::env::current_exe().map_err(|error| CliError::of(Exit::Setup, &error))?;
    let sandbox = match context.environment.get("PATH") {
        Some(path) => Sandbox::probe(path, &helper),
        None => Sandbox::new(Layers::none("`PATH` is not set")),
    };
    let scratch = std::env::temp_dir();
    let mut data = if context.format == Format::Text { Data::styled() } else { Data::exact() };
    let (mut all_held, mut documents) = (true, Vec::new());
    if context.format == Format::Text {
        data.line(&format!("layers here: {}", listed(&sandbox.layers().names())));
    }
    for (mode, network, name) in COURSES {
        let course = Course { mode, network, user: None, helper: &helper, scratch: &scratch, accept_weaker };
        match run(&sandbox, &course) {
            Ok(attempts) => {
                all_held &= attempts.all_held();
                match context.format {
                    Format::Text => show(&mut data, name, &attempts),
                    Format::Json | Format::Jsonl => {
                        documents.push(json!({ "course": name, "result": attempts }));
                    }
                }
            }
            Err(error) => {
                all_held = false;
                let text = CliError::of(Exit::Setup, &error).to_string();
                match context.format {
                    Format::Text => data.line(&format!("{} {name}: {}", paint(RED, "✗"), harmless(&text))),
                    Format::Json | Format::Jsonl => documents.push(json!({ "course": name, "error": text })),
                }
            }
        }
    }
    match context.format {
        Format::Text => {}
        Format::Json => {
            let layers = sandbox.layers().names();
            data.line(&json!({ "layers": layers, "held": all_held, "courses": documents }).to_string());
        }
        Format::Jsonl => documents.iter().for_each(|document| data.line(&document.to_string())),
    }
    data.flush();
    Ok(if all_held { Exit::Done } else { Exit::RunFailed })
}

fn show(data: &mut Data, name: &str, attempts: &Attempts) {
    let layers: Vec<String> = attempts.layers.iter().map(ToString::to_string).collect();
    let held = attempts.attempts.iter().filter(|attempt| attempt.held).count();
    let symbol = if attempts.all_held() { paint(GREEN, "✓") } else { paint(RED, "✗") };
    let all = attempts.attempts.len();
    data.line(&format!("{symbol} {name}: {held} of {all} attempts held by {}", listed(&layers)));
    if let Some(weaker) = &attempts.weaker {
        data.line(&format!("  {} {}", paint(YELLOW, "weaker:"), harmless(weaker)));
    }
    for attempt in &attempts.attempts {
        let symbol = if attempt.held { paint(GREEN, "✓") } else { paint(RED, "✗") };
        let observed = harmless(attempt.observed.lines().next().unwrap_or_default());
        data.line(&format!("    {symbol} {:<44} {:<14} {observed}", attempt.name, attempt.layer));
    }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
