//! `instructions`: what an agent would be told before its prompt, and why.

use std::path::PathBuf;

use co_agents::instructions::{self, InstructionRequest, InstructionScope, Instructions};
use co_agents::skills::{self, SkillRequest, SkillSource, Skills};
use co_config::{CodexPlaces, CodexSettings, load_codex};
use serde_json::json;

use crate::args::{Format, InstructionsShowArguments};
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::{BOLD, DIM, Data, harmless, paint, warn};

/// Further places below the repository's root that are listed beside what the agent reads by itself.
const PLACES_VARIABLE: &str = "CODEX_ORCHESTRATOR_INSTRUCTION_PLACES";

pub(crate) fn show(context: &Context, arguments: &InstructionsShowArguments) -> Result<Exit, CliError> {
    if !matches!(arguments.agent.as_str(), "codex" | "codex-app-server") {
        let message = format!("what `{}` reads before its prompt is its own matter", arguments.agent);
        let hint = "only Codex's rules are known: codex-orchestrator instructions show --agent codex";
        return Err(CliError::new(Exit::Usage, message).hint(hint));
    }
    let cwd = working_directory(context, arguments.cwd.as_ref())?;
    let settings = load_codex(&CodexPlaces::new(&context.environment, &cwd))
        .map_err(|error| CliError::of(Exit::Setup, &error))?;
    for note in &settings.notes {
        warn(note);
    }
    let home = context.environment.get("HOME").map(PathBuf::from);
    let told = instructions::discover(&request(context, &settings, &cwd, home.clone()));
    let skills = skills::discover(&SkillRequest {
        root_markers: settings.instructions.root_markers.clone(),
        ..SkillRequest::new(&cwd, settings.home.clone(), home)
    });
    match context.format {
        Format::Text => text(context, &told, &skills),
        Format::Json | Format::Jsonl => {
            let document = json!({
                "agent": arguments.agent,
                "cwd": cwd.to_string_lossy(),
                "instructions": told,
                "skills": skills.skills,
                "skill_errors": skills.errors,
            });
            let mut data = Data::exact();
            let line = match context.format {
                Format::Json => format!("{document:#}"),
                _ => document.to_string(),
            };
            data.line(&line);
            data.flush();
        }
    }
    Ok(Exit::Done)
}

fn working_directory(context: &Context, named: Option<&PathBuf>) -> Result<PathBuf, CliError> {
    let base = context.environment.current_directory().unwrap_or(&context.layout.root);
    let cwd = named.map_or_else(|| context.layout.root.clone(), |named| base.join(named));
    if cwd.is_dir() {
        return Ok(cwd);
    }
    Err(CliError::new(Exit::NotFound, format!("`{}` is no directory", cwd.display())))
}

fn request(
    context: &Context,
    settings: &CodexSettings,
    cwd: &std::path::Path,
    home: Option<PathBuf>,
) -> InstructionRequest {
    let places = context.environment.get(PLACES_VARIABLE).map(std::ffi::OsStr::to_string_lossy);
    let places = places.as_deref().unwrap_or_default().split(',').map(str::trim);
    InstructionRequest {
        root_markers: settings.instructions.root_markers.clone(),
        max_bytes: usize::try_from(settings.instructions.max_bytes).unwrap_or(usize::MAX),
        fallback_names: settings.instructions.fallback_names.clone(),
        additional: places.filter(|place| !place.is_empty()).map(str::to_owned).collect(),
        ..InstructionRequest::new(cwd, settings.home.clone(), home)
    }
}

fn text(context: &Context, told: &Instructions, skills: &Skills) {
    let mut data = Data::styled();
    data.line(&paint(BOLD, "Told, in this order"));
    if told.sources.is_empty() {
        data.line("  nothing");
    }
    for source in &told.sources {
        let scope = match source.scope {
            InstructionScope::Global => "everywhere",
            InstructionScope::Project => "project",
            InstructionScope::Additional => "listed, not read by the agent itself",
        };
        let cut = if source.truncated { ", cut" } else { "" };
        let path = harmless(&context.layout.show(&source.path));
        data.line(&format!("  {path}  {}", paint(DIM, &format!("{scope}, {} bytes{cut}", source.bytes))));
    }
    data.line(&paint(BOLD, "Found, and why it is told or not"));
    for line in told.explain() {
        data.line(&format!("  {}", harmless(&line)));
    }
    data.line(&paint(BOLD, "Skills"));
    if skills.skills.is_empty() {
        data.line("  none");
    }
    for skill in &skills.skills {
        let source = match skill.source {
            SkillSource::Project => "project",
            SkillSource::User => "user",
            SkillSource::System => "system",
        };
        let hidden = if skill.hidden { ", only by name" } else { "" };
        let note = paint(DIM, &format!("{source}{hidden}"));
        data.line(&format!("  {}  {note}  {}", harmless(&skill.name), harmless(&skill.description)));
    }
    data.flush();
    for warning in &told.warnings {
        warn(&harmless(warning));
    }
    for error in &skills.errors {
        warn(&format!(
            "skill `{}`: {}",
            harmless(&error.path.display().to_string()),
            harmless(&error.message)
        ));
    }
}
