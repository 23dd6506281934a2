//! `approvals`: the consents that people have given, and taking them back.

#![expect(clippy::needless_for_each, reason = "read as one sentence, these say more")]

use co_log::GrantFilter;
use co_model::{Grant, GrantId, RunId, visible};
use co_runtime::Orchestrator;
use co_views::{CallRequestView, GrantView, open_questions, to_json};
use serde_json::json;

use crate::args::Format;
use crate::bound::lines_of;
use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::{Data, harmless};

/// Which consents to list.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ListArguments {
    /// Only those given in this run
    #[arg(long, value_name = "RUN")]
    pub(crate) run: Option<RunId>,
    /// Those of every task, not only of one
    #[arg(long, short)]
    pub(crate) all: bool,
    /// At most so many, newest first
    #[arg(long, short = 'n', default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) limit: u32,
}

/// Prints the questions that wait for an answer.
pub(crate) fn questions(context: &Context, run: Option<&RunId>) -> Result<Exit, CliError> {
    let orchestrator = context.existing()?;
    let run = context.run_or_newest(&orchestrator, run)?;
    let snapshot = orchestrator.snapshot(&run)?;
    let open = open_questions(&snapshot.state);
    let mut data = Data::exact();
    match context.format {
        Format::Text if open.is_empty() => data.line(&format!("{run} asks nothing")),
        Format::Text => {
            for question in &open {
                let call =
                    question.call_id.as_deref().map(|call| format!(" --call '{call}'")).unwrap_or_default();
                data.line(&format!("{}  {}", question.stage_id, harmless(&question.message)));
                if let Some(request) = &question.request {
                    data.bytes(lines_of(request).as_bytes());
                }
                data.line(&format!("  open until {}", question.expires_at));
                let stage = &question.stage_id;
                data.line(&format!("  codex-orchestrator answer --run {run} --stage {stage}{call} yes|no"));
            }
        }
        Format::Json => data.line(&json!({ "run_id": run.as_str(), "questions": open }).to_string()),
        Format::Jsonl => open.iter().for_each(|question| data.line(&json!(question).to_string())),
    }
    data.flush();
    Ok(Exit::Done)
}

/// Lists consents, newest first.
pub(crate) fn list(context: &Context, arguments: &ListArguments) -> Result<Exit, CliError> {
    let filter = GrantFilter {
        task: if arguments.all { None } else { context.named_task() },
        run: arguments.run.clone(),
        limit: usize::try_from(arguments.limit).unwrap_or(usize::MAX),
        ..GrantFilter::default()
    };
    let grants = context.existing()?.grants(&filter)?;
    let mut data = Data::exact();
    match context.format {
        Format::Text if grants.is_empty() => data.line("no consents"),
        Format::Text => grants.iter().for_each(|grant| data.line(&line(grant))),
        Format::Json => {
            let views: Vec<GrantView> = grants.iter().map(GrantView::from).collect();
            data.line(&json!({ "grants": views }).to_string());
        }
        Format::Jsonl => {
            grants.iter().for_each(|grant| data.line(&json!(GrantView::from(grant)).to_string()));
        }
    }
    data.flush();
    Ok(Exit::Done)
}

/// Prints one consent with everything it is bound to.
pub(crate) fn show(context: &Context, id: &str) -> Result<Exit, CliError> {
    let filter = GrantFilter { grant: Some(GrantId(id.to_owned())), ..GrantFilter::default() };
    let orchestrator = context.existing()?;
    let grant = orchestrator.grants(&filter)?.pop().ok_or_else(|| unknown(id))?;
    print_one(context, &orchestrator, &grant)
}

/// Takes a consent back. What is running goes on; the next call asks again.
pub(crate) fn revoke(context: &Context, id: &str) -> Result<Exit, CliError> {
    let actor = context.settings.actor.value.clone();
    let orchestrator = context.existing()?;
    let revoked = orchestrator.revoke(&GrantId(id.to_owned()), actor)?.ok_or_else(|| unknown(id))?;
    print_one(context, &orchestrator, &revoked)
}

/// Writes every consent as one JSON object a line, oldest first: for auditors.
pub(crate) fn export(context: &Context) -> Result<Exit, CliError> {
    let filter = GrantFilter { limit: usize::MAX >> 1, ..GrantFilter::default() };
    let mut grants = context.existing()?.grants(&filter)?;
    grants.reverse();
    let mut data = Data::exact();
    grants.iter().for_each(|grant| data.line(&json!(GrantView::from(grant)).to_string()));
    data.flush();
    Ok(Exit::Done)
}

fn print_one(context: &Context, orchestrator: &Orchestrator, grant: &Grant) -> Result<Exit, CliError> {
    let request = orchestrator.request_of(grant)?;
    let request = request.as_ref().map(CallRequestView::from);
    let mut data = Data::exact();
    match context.format {
        Format::Text => {
            data.line(&line(grant));
            if let Some(request) = &request {
                data.bytes(lines_of(request).as_bytes());
                for file in &request.files {
                    data.line(&format!("  file     {}", visible(&file.path)));
                }
            }
            data.line(&format!("  key      {}", grant.key));
            data.line(&format!("  task     {}", grant.task));
            data.line(&format!("  run      {}", grant.run));
            if let Some(starter) = &grant.starter {
                data.line(&format!("  serves   {}", visible(starter.as_str())));
            }
            if let Some(session) = &grant.session {
                data.line(&format!("  session  {}", harmless(session)));
            }
            if let Some(expires_at) = grant.expires_at {
                data.line(&format!("  expires  {expires_at}"));
            }
            if let Some(revoked) = &grant.revoked {
                data.line(&format!("  revoked  {} by {}", revoked.at, harmless(revoked.actor.as_str())));
            }
        }
        Format::Json | Format::Jsonl => {
            let view = GrantView { request, ..GrantView::from(grant) };
            data.line(to_json(&view).trim_end());
        }
    }
    data.flush();
    Ok(Exit::Done)
}

fn line(grant: &Grant) -> String {
    let state = match (&grant.revoked, grant.uses_left) {
        (Some(_), _) => "revoked",
        (None, Some(0)) => "used up",
        _ => "good",
    };
    let shown = harmless(&grant.shown);
    let (id, scope, actor) = (&grant.id, grant.scope.as_str(), harmless(grant.actor.as_str()));
    format!("{id}  {scope}  {state}  {actor}  {}  {shown}", grant.given_at)
}

fn unknown(id: &str) -> CliError {
    CliError::new(Exit::NotFound, format!("there is no consent `{}`", id.escape_debug()))
        .hint("codex-orchestrator approvals list --all")
}
