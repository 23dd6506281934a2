//! The words of Claude Code's stream: what its tools do, and what its failures mean.
//!
//! Pure: values in, our own words out. Nothing here is kept.

use co_model::{CallOutcome, CallStatus, ChangeKind, TokenUsage, ToolUse};
use serde_json::{Value, json};

use crate::recorder::{Recorder, detail, outcome};
use crate::text::{SHORT_LIMIT, TEXT_LIMIT, shortened};
use crate::verdict::FailureClass;

/// Returns a text field, bounded; a missing one is empty.
pub(super) fn text(value: &Value, field: &str) -> String {
    shortened(raw(value, field), TEXT_LIMIT)
}

/// Returns a text field as it stands; a missing one is empty.
pub(super) fn raw<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// Returns what a call of a tool does.
///
/// A change of a file is known by the hash of what is written, so that the same call is the same in every line that
/// speaks of it, whatever the order of its fields.
pub(super) fn tool_use(recorder: &Recorder, name: &str, input: &Value) -> ToolUse {
    let patch = |path: &str, kind, shown: &str| ToolUse::Patch {
        files: vec![recorder.patched(raw(input, path), kind, shown)],
    };
    let field = |name: &str| input.get(name).unwrap_or(&Value::Null);
    match name {
        "Bash" => ToolUse::Command { argv: vec!["bash".into(), "-c".into(), text(input, "command")] },
        // Whether the file was there is said only once it is written.
        "Write" => patch("file_path", ChangeKind::Update, raw(input, "content")),
        "Edit" => {
            let everywhere = field("replace_all").as_bool().unwrap_or(false);
            let shown = json!([field("old_string"), field("new_string"), everywhere]);
            patch("file_path", ChangeKind::Update, &shown.to_string())
        }
        "NotebookEdit" => {
            let shown = ["cell_id", "cell_type", "edit_mode", "new_source"].map(field);
            patch("notebook_path", ChangeKind::Update, &json!(shown).to_string())
        }
        _ => match name.strip_prefix("mcp__").and_then(|rest| rest.split_once("__")) {
            Some((server, tool)) => ToolUse::Mcp {
                server: shortened(server, SHORT_LIMIT),
                name: shortened(tool, SHORT_LIMIT),
                arguments: shortened(&input.to_string(), TEXT_LIMIT),
                definition: None,
            },
            None => ToolUse::Other {
                name: shortened(name, SHORT_LIMIT),
                input: shortened(&input.to_string(), TEXT_LIMIT),
            },
        },
    }
}

/// Tells whether a call is shown whole by [`tool_use`]; the contents of files are, by their hash.
pub(super) fn is_shown_whole(name: &str, input: &Value) -> bool {
    match name {
        "Bash" => raw(input, "command").len() <= TEXT_LIMIT,
        "Write" | "Edit" => raw(input, "file_path").len() <= SHORT_LIMIT,
        "NotebookEdit" => raw(input, "notebook_path").len() <= SHORT_LIMIT,
        _ => name.len() <= SHORT_LIMIT && input.to_string().len() <= TEXT_LIMIT,
    }
}

/// Corrects what a call was announced to do by what it says it did.
pub(super) fn as_done(tool: ToolUse, result: &Value) -> ToolUse {
    match tool {
        ToolUse::Patch { mut files } if raw(result, "type") == "create" => {
            for file in &mut files {
                file.change.kind = ChangeKind::Add;
            }
            ToolUse::Patch { files }
        }
        tool => tool,
    }
}

/// Returns the text of a tool's result, bounded: a string, or the text blocks of a list.
pub(super) fn result_text(block: &Value) -> String {
    match block.get("content") {
        Some(Value::String(text)) => shortened(text, TEXT_LIMIT),
        Some(Value::Array(blocks)) => {
            let texts = blocks.iter().filter_map(|block| block.get("text")?.as_str());
            let mut joined = String::new();
            for text in texts {
                joined.push_str(text);
                if joined.len() > TEXT_LIMIT {
                    break;
                }
            }
            shortened(&joined, TEXT_LIMIT)
        }
        _ => String::new(),
    }
}

/// Returns how a call ended, by its result and what is said about it beside.
pub(super) fn call_outcome(block: &Value, meta: &Value, declined: bool) -> CallOutcome {
    let failed = block.get("is_error").and_then(Value::as_bool).unwrap_or(false);
    if !failed {
        return outcome(CallStatus::Succeeded);
    }
    let said = result_text(block);
    let rejected = declined
        || raw(&meta["permission_decision"], "decision") == "reject"
        || meta.get("non_execution_kind").is_some();
    let status = if rejected { CallStatus::Declined } else { CallStatus::Failed };
    let exit_code = said.strip_prefix("Exit code ").and_then(|rest| rest.lines().next()?.trim().parse().ok());
    CallOutcome { exit_code: exit_code.filter(|_| !rejected), detail: detail(&said), ..outcome(status) }
}

/// Returns the tokens of the whole session, summed over its models, and those of the turn that ended.
pub(super) fn usage(result: &Value) -> Option<(TokenUsage, Option<TokenUsage>)> {
    let count = |value: &Value, field: &str| value.get(field).and_then(Value::as_u64).unwrap_or(0);
    let turn = result.get("usage").filter(|usage| usage.is_object()).map(|usage| {
        let cached_input = count(usage, "cache_read_input_tokens");
        let fresh = count(usage, "input_tokens").saturating_add(count(usage, "cache_creation_input_tokens"));
        TokenUsage {
            input: fresh.saturating_add(cached_input),
            cached_input,
            output: count(usage, "output_tokens"),
            reasoning_output: count(&usage["output_tokens_details"], "thinking_tokens"),
        }
    });
    let models = result.get("modelUsage").and_then(Value::as_object).filter(|models| !models.is_empty());
    let session = models.map(|models| {
        models.values().fold(TokenUsage::default(), |sum, model| {
            let cached_input = count(model, "cacheReadInputTokens");
            let fresh = count(model, "inputTokens").saturating_add(count(model, "cacheCreationInputTokens"));
            TokenUsage {
                input: sum.input.saturating_add(fresh).saturating_add(cached_input),
                cached_input: sum.cached_input.saturating_add(cached_input),
                output: sum.output.saturating_add(count(model, "outputTokens")),
                reasoning_output: sum.reasoning_output.saturating_add(count(model, "thinkingTokens")),
            }
        })
    });
    Some((session.or(turn)?, turn))
}

/// Returns the message and the class of a result that is an error.
///
/// `error` is the word that stood beside the last failed request to the model.
pub(super) fn failure(result: &Value, error: &str) -> (String, Option<FailureClass>) {
    let errors = result.get("errors").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let said = errors.iter().find_map(Value::as_str).filter(|said| !said.is_empty());
    let message = shortened(said.unwrap_or_else(|| raw(result, "result")), TEXT_LIMIT);
    let message = if message.is_empty() { raw(result, "subtype").to_owned() } else { message };
    let class = class(result, error, &message);
    (message, class)
}

fn class(result: &Value, error: &str, message: &str) -> Option<FailureClass> {
    let says = |needle: &str| message.to_lowercase().contains(needle);
    if says("no conversation found") || says("--resume requires a valid session") {
        return Some(FailureClass::ThreadNotFound);
    }
    if raw(result, "terminal_reason") == "prompt_too_long" || says("prompt is too long") {
        return Some(FailureClass::ContextExceeded);
    }
    let limit_is_reached = says("usage limit") || says("credit balance") || says("limit reached");
    match result.get("api_error_status").and_then(Value::as_u64) {
        Some(401 | 403) => return Some(FailureClass::NotAuthenticated),
        Some(402) => return Some(FailureClass::UsageLimit),
        Some(429) if limit_is_reached => return Some(FailureClass::UsageLimit),
        Some(429) => return Some(FailureClass::RateLimited),
        Some(413) => return Some(FailureClass::ContextExceeded),
        Some(400) if says("credit balance") => return Some(FailureClass::UsageLimit),
        Some(400..500) => return Some(FailureClass::InvalidRequest),
        Some(500..600) => return Some(FailureClass::ModelOverloaded),
        _ => {}
    }
    match (raw(result, "api_error"), error) {
        ("connection_failed", _) => Some(FailureClass::StreamDisconnected),
        (_, "authentication_failed" | "oauth_org_not_allowed") => Some(FailureClass::NotAuthenticated),
        (_, "billing_error") => Some(FailureClass::UsageLimit),
        (_, "rate_limit") => {
            Some(if limit_is_reached { FailureClass::UsageLimit } else { FailureClass::RateLimited })
        }
        (_, "overloaded" | "server_error") => Some(FailureClass::ModelOverloaded),
        _ => None,
    }
}
