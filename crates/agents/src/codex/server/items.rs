//! Reads the items, the counts and the errors of the app-server's protocol.

use std::time::Duration;

use co_model::{CallOutcome, CallStatus, ChangeKind, PatchedFile, TokenUsage, ToolUse};
use serde_json::Value;

use crate::recorder::{MAX_FILES, Recorder, detail, outcome, words_of};
use crate::text::{SHORT_LIMIT, TEXT_LIMIT, shortened};
use crate::verdict::FailureClass;

/// Is something that the agent does, as an item shows it.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) tool: ToolUse,
    pub(super) cwd: Option<String>,
    /// Whether all of it is in `tool`; consent is asked for nothing less.
    pub(super) whole: bool,
    /// Whether the item shows that it runs already.
    pub(super) runs: bool,
}

/// Reads an item as a call; none if it is something else.
///
/// `line_whole` tells whether every string of the line came through uncut.
pub(super) fn call(item: &Value, recorder: &Recorder, line_whole: bool) -> Option<Call> {
    let field = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default();
    let call = |tool, whole, runs| Call { tool, cwd: None, whole, runs };
    Some(match field("type") {
        "commandExecution" => {
            let command = field("command");
            let cwd = item.get("cwd").and_then(Value::as_str).map(|cwd| shortened(cwd, SHORT_LIMIT));
            let tool = ToolUse::Command { argv: words_of(&shortened(command, TEXT_LIMIT)) };
            let whole = command.len() <= TEXT_LIMIT;
            Call { tool, cwd, whole, runs: item.get("processId").is_some_and(|id| !id.is_null()) }
        }
        "fileChange" => {
            let entries = item.get("changes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let files = entries.iter().take(MAX_FILES).flat_map(|entry| files(entry, recorder)).collect();
            let paths_fit = entries.iter().all(|entry| {
                entry.get("path").and_then(Value::as_str).is_some_and(|path| path.len() <= SHORT_LIMIT)
            });
            let whole = line_whole && paths_fit && (1..=MAX_FILES).contains(&entries.len());
            call(ToolUse::Patch { files }, whole, false)
        }
        "mcpToolCall" => {
            let arguments = item.get("arguments").map(Value::to_string).unwrap_or_default();
            let tool = ToolUse::Mcp {
                server: shortened(field("server"), SHORT_LIMIT),
                name: shortened(field("tool"), SHORT_LIMIT),
                arguments: shortened(&arguments, TEXT_LIMIT),
                definition: None,
            };
            call(tool, arguments.len() <= TEXT_LIMIT, false)
        }
        "dynamicToolCall" | "collabAgentToolCall" => {
            let input = item.get("arguments").map_or_else(|| field("prompt").to_owned(), Value::to_string);
            let name = shortened(field("tool"), SHORT_LIMIT);
            call(
                ToolUse::Other { name, input: shortened(&input, TEXT_LIMIT) },
                input.len() <= TEXT_LIMIT,
                true,
            )
        }
        _ => return None,
    })
}

/// Reads one entry of a change of files; a move is the end of one file and the beginning of another.
fn files(entry: &Value, recorder: &Recorder) -> Vec<PatchedFile> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let (path, diff) = (text(entry.get("path")), text(entry.get("diff")));
    let kind = entry.get("kind");
    let moved = text(kind.and_then(|kind| kind.get("move_path")));
    let patched = |path: &str, kind| recorder.patched(path, kind, &diff);
    match kind.and_then(|kind| kind.get("type")).and_then(Value::as_str) {
        Some("add") => vec![patched(&path, ChangeKind::Add)],
        Some("delete") => vec![patched(&path, ChangeKind::Delete)],
        _ if !moved.is_empty() => {
            vec![patched(&path, ChangeKind::Delete), patched(&moved, ChangeKind::Add)]
        }
        _ => vec![patched(&path, ChangeKind::Update)],
    }
}

/// Reads how a call ended; a word that is not known means that its end was not seen.
pub(super) fn call_outcome(item: &Value) -> CallOutcome {
    let status = match item.get("status").and_then(Value::as_str) {
        Some("completed") => CallStatus::Succeeded,
        Some("failed") => CallStatus::Failed,
        Some("declined") => CallStatus::Declined,
        _ => CallStatus::Lost,
    };
    let error = item.get("error").and_then(|error| error.get("message"));
    let said = error.or(item.get("aggregatedOutput")).and_then(Value::as_str);
    CallOutcome {
        exit_code: item.get("exitCode").and_then(Value::as_i64).and_then(|code| i32::try_from(code).ok()),
        duration: item.get("durationMs").and_then(Value::as_u64).map(Duration::from_millis),
        detail: said.filter(|_| status != CallStatus::Succeeded).and_then(detail),
        ..outcome(status)
    }
}

/// Reads counts of tokens; none if there are none.
pub(super) fn usage(counts: Option<&Value>) -> Option<TokenUsage> {
    let counts = counts.filter(|counts| counts.is_object())?;
    let count = |field: &str| counts.get(field).and_then(Value::as_u64).unwrap_or(0);
    Some(TokenUsage {
        input: count("inputTokens"),
        cached_input: count("cachedInputTokens"),
        output: count("outputTokens"),
        reasoning_output: count("reasoningOutputTokens"),
    })
}

/// Reads an error's message and what kind of failure it names.
pub(super) fn error(error: Option<&Value>) -> (String, Option<FailureClass>) {
    let field = |name| error.and_then(|error| error.get(name));
    let message = field("message").and_then(Value::as_str).unwrap_or_default();
    (shortened(message, TEXT_LIMIT), field("codexErrorInfo").and_then(class))
}

/// Reads `codexErrorInfo`: a word, or an object whose one key is the word and which may hold an HTTP status.
///
/// Where it says too little the message decides.
fn class(info: &Value) -> Option<FailureClass> {
    let (word, status) = match info {
        Value::String(word) => (word.as_str(), None),
        Value::Object(fields) => {
            let (word, more) = fields.iter().next()?;
            (word.as_str(), more.get("httpStatusCode").and_then(Value::as_u64))
        }
        _ => return None,
    };
    match status {
        Some(401 | 403) => return Some(FailureClass::NotAuthenticated),
        Some(429) => return Some(FailureClass::RateLimited),
        Some(500..=599) => return Some(FailureClass::ModelOverloaded),
        _ => {}
    }
    Some(match word {
        "contextWindowExceeded" => FailureClass::ContextExceeded,
        "usageLimitExceeded" | "sessionBudgetExceeded" => FailureClass::UsageLimit,
        "rateLimitExceeded" => FailureClass::RateLimited,
        "serverOverloaded" | "flexUnavailable" | "policyCapacityUnavailable" | "internalServerError" => {
            FailureClass::ModelOverloaded
        }
        "unauthorized" => FailureClass::NotAuthenticated,
        "badRequest" | "modelNotFound" => FailureClass::InvalidRequest,
        "httpConnectionFailed"
        | "responseStreamConnectionFailed"
        | "responseStreamDisconnected"
        | "responseTooManyFailedAttempts" => FailureClass::StreamDisconnected,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_error_of_the_protocol_has_its_class() {
        use FailureClass as Class;
        let table = [
            (json!("contextWindowExceeded"), Some(Class::ContextExceeded)),
            (json!("usageLimitExceeded"), Some(Class::UsageLimit)),
            (json!("serverOverloaded"), Some(Class::ModelOverloaded)),
            (json!("unauthorized"), Some(Class::NotAuthenticated)),
            (json!("badRequest"), Some(Class::InvalidRequest)),
            (
                json!({"responseStreamDisconnected": {"httpStatusCode": null}}),
                Some(Class::StreamDisconnected),
            ),
            (json!({"responseTooManyFailedAttempts": {"httpStatusCode": 429}}), Some(Class::RateLimited)),
            (json!({"httpConnectionFailed": {"httpStatusCode": 503}}), Some(Class::ModelOverloaded)),
            (json!({"httpConnectionFailed": {"httpStatusCode": 401}}), Some(Class::NotAuthenticated)),
            (json!("other"), None),
            (json!("fromTheFuture"), None),
            (json!({}), None),
            (json!(7), None),
        ];
        for (info, expected) in table {
            assert_eq!(class(&info), expected, "{info}");
        }
    }

    #[test]
    fn a_move_is_two_files_and_a_diff_is_hashed_whole() {
        let recorder = Recorder::new(vec!["/tree".into()]);
        let item = json!({"type": "fileChange", "changes": [
            {"path": "/tree/a", "kind": {"type": "update", "move_path": "/tree/b"}, "diff": "@@"},
            {"path": "/c", "kind": {"type": "delete"}, "diff": "gone\n"},
        ]});
        let call = call(&item, &recorder, true).unwrap();
        assert!(call.whole && !call.runs);
        let ToolUse::Patch { files } = call.tool else { panic!("{:?}", call.tool) };
        let found: Vec<_> = files.iter().map(|file| (file.change.path.as_str(), file.change.kind)).collect();
        let expected = [("a", ChangeKind::Delete), ("b", ChangeKind::Add), ("/c", ChangeKind::Delete)];
        assert_eq!(found, expected);
        assert_eq!(files[0].sha256, files[1].sha256);
        assert_ne!(files[0].sha256, files[2].sha256);
    }

    #[test]
    fn what_was_cut_is_not_whole() {
        let recorder = Recorder::default();
        let item = json!({"type": "fileChange", "changes": [
            {"path": "/a", "kind": {"type": "add"}, "diff": "x"},
        ]});
        assert!(!call(&item, &recorder, false).unwrap().whole);
        assert!(!call(&json!({"type": "fileChange", "changes": []}), &recorder, true).unwrap().whole);
        let long = json!({"type": "commandExecution", "command": "x".repeat(TEXT_LIMIT + 1)});
        assert!(!call(&long, &recorder, true).unwrap().whole);
    }
}
