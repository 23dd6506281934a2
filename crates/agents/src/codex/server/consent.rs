//! Turns the server's requests into consents that are wanted, and decisions into what the server wants to hear.

use co_model::{SandboxMode, ToolUse};
use serde_json::{Value, json};

use crate::dialogue::{ConsentDecision, ConsentRequest};
use crate::recorder::{OpenCall, words_of};
use crate::text::{SHORT_LIMIT, TEXT_LIMIT, shortened};

/// Says what becomes of a request of the server.
#[derive(Debug)]
pub(super) enum Asked {
    /// Somebody has to decide.
    Wanted(Wanted),
    /// It is answered at once, and why that is so is a warning.
    Answered { result: Value, warning: String },
    /// It is nothing that this client does.
    Unknown,
}

/// Is a consent that is wanted, and the way to answer it.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) request: ConsentRequest,
    pub(super) answer: Answer,
}

/// Says which answer a request takes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    /// A word, for commands and changes of files.
    Word,
    /// What was asked for, or nothing.
    Permissions(Value),
    /// An action.
    Elicitation,
}

/// Is what the client decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    Once,
    Session,
    Decline,
    /// Refuses and ends the turn.
    Cancel,
}

impl Reply {
    pub(super) fn to(decision: &ConsentDecision, offers_session: bool) -> Self {
        match (decision.approved, decision.for_session && offers_session) {
            (false, _) => Self::Decline,
            (true, false) => Self::Once,
            (true, true) => Self::Session,
        }
    }
}

impl Answer {
    /// Returns the result that the server gets.
    pub(super) fn result(&self, reply: Reply) -> Value {
        match self {
            Self::Word => {
                let word = match reply {
                    Reply::Once => "accept",
                    Reply::Session => "acceptForSession",
                    Reply::Decline => "decline",
                    Reply::Cancel => "cancel",
                };
                json!({ "decision": word })
            }
            Self::Permissions(asked) => match reply {
                Reply::Once => json!({ "permissions": asked, "scope": "turn" }),
                Reply::Session => json!({ "permissions": asked, "scope": "session" }),
                Reply::Decline | Reply::Cancel => json!({ "permissions": {}, "scope": "turn" }),
            },
            Self::Elicitation => match reply {
                Reply::Once => json!({ "action": "accept", "content": {}, "_meta": null }),
                Reply::Session => {
                    json!({ "action": "accept", "content": {}, "_meta": { "persist": "session" } })
                }
                Reply::Decline => json!({ "action": "decline", "content": null, "_meta": null }),
                Reply::Cancel => json!({ "action": "cancel", "content": null, "_meta": null }),
            },
        }
    }
}

/// Is what the dialogue knows when a request comes.
pub(super) struct Context<'a> {
    /// Returns the call that an item announced.
    pub(super) announced: &'a dyn Fn(&str) -> Option<&'a OpenCall>,
    /// Returns the item under which a tool of an MCP server is being called.
    pub(super) mcp_item: &'a dyn Fn(&str, &str) -> Option<&'a str>,
    /// The sandbox that was asked for.
    pub(super) sandbox: Option<SandboxMode>,
    /// Whether the request itself came through uncut.
    pub(super) whole: bool,
}

/// Reads a request of the server.
pub(super) fn asked(method: &str, id: &Value, params: &Value, context: &Context<'_>) -> Asked {
    let asked = match method {
        "item/commandExecution/requestApproval" => command(params, context),
        "item/fileChange/requestApproval" => file_change(params, context),
        "item/permissions/requestApproval" => permissions(params),
        "mcpServer/elicitation/request" => elicitation(id, params, context),
        "item/tool/requestUserInput" => Asked::Answered {
            result: json!({ "answers": {} }),
            warning: format!("the agent asked, and was not answered: {}", questions(params)),
        },
        _ => Asked::Unknown,
    };
    match asked {
        Asked::Wanted(wanted) if !context.whole => too_long(&wanted.answer, wanted.request.tool.kind()),
        asked => asked,
    }
}

fn text(params: &Value, field: &str) -> Option<String> {
    params.get(field).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Declines a call of some kind that nobody could be shown.
fn too_long(answer: &Answer, kind: &str) -> Asked {
    Asked::Answered {
        result: answer.result(Reply::Decline),
        warning: format!("a call ({kind}) was declined: it is too long to be shown whole"),
    }
}

fn command(params: &Value, context: &Context<'_>) -> Asked {
    let id = text(params, "itemId").unwrap_or_default();
    let announced = (context.announced)(&id);
    let input = |name: &str, value: &Value| {
        let input = value.to_string();
        (input.len() <= TEXT_LIMIT).then(|| ToolUse::Other { name: name.to_owned(), input })
    };
    let network = params.get("networkApprovalContext").filter(|context| !context.is_null());
    // Only what is bound to the very command can be remembered for it.
    let (tool, is_command) = match (text(params, "kind").as_deref(), network, text(params, "command")) {
        (Some("writeStdin"), _, _) => {
            let shown = without(params, &["threadId", "turnId", "startedAtMs", "approvalId"]);
            (input("write_stdin", &shown), false)
        }
        (_, Some(network), _) => (input("network", network), false),
        (_, None, Some(command)) => {
            let argv = (command.len() <= TEXT_LIMIT).then(|| words_of(&command));
            (argv.map(|argv| ToolUse::Command { argv }), true)
        }
        (_, None, None) => (announced.filter(|call| call.whole).map(|call| call.tool.clone()), true),
    };
    let Some(tool) = tool else { return too_long(&Answer::Word, "command") };
    let item = match text(params, "approvalId") {
        Some(approval) => format!("{id}#{approval}"),
        None => id,
    };
    let request = ConsentRequest {
        item,
        tool,
        cwd: text(params, "cwd").or_else(|| announced.and_then(|call| call.cwd.clone())),
        reason: reason(params),
        // An approved command that its sandbox stops is repeated outside of it.
        escalated: context.sandbox != Some(SandboxMode::DangerFullAccess),
        offers_session: is_command,
    };
    Asked::Wanted(Wanted { request, answer: Answer::Word })
}

fn file_change(params: &Value, context: &Context<'_>) -> Asked {
    let item = text(params, "itemId").unwrap_or_default();
    let Some(call) = (context.announced)(&item).filter(|call| call.whole) else {
        return too_long(&Answer::Word, "patch");
    };
    let root = text(params, "grantRoot");
    let reason = match (reason(params), &root) {
        (reason, None) => reason,
        (reason, Some(root)) => {
            let said = reason.map(|reason| format!("; {reason}")).unwrap_or_default();
            Some(shortened(&format!("asks for every change under {root}{said}"), SHORT_LIMIT))
        }
    };
    let request = ConsentRequest {
        item,
        tool: call.tool.clone(),
        cwd: call.cwd.clone(),
        reason,
        escalated: root.is_some(),
        offers_session: root.is_none(),
    };
    Asked::Wanted(Wanted { request, answer: Answer::Word })
}

fn permissions(params: &Value) -> Asked {
    // What is null was not asked for, and is not granted either.
    let asked = params.get("permissions").and_then(Value::as_object).map(|asked| {
        asked.iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.clone(), value.clone()))
    });
    let asked = Value::Object(asked.into_iter().flatten().collect());
    let answer = Answer::Permissions(asked.clone());
    let input = asked.to_string();
    if input.len() > TEXT_LIMIT {
        return too_long(&answer, "permissions");
    }
    let request = ConsentRequest {
        item: text(params, "itemId").unwrap_or_default(),
        tool: ToolUse::Other { name: "permissions".to_owned(), input },
        cwd: text(params, "cwd"),
        reason: reason(params),
        escalated: true,
        offers_session: true,
    };
    Asked::Wanted(Wanted { request, answer })
}

/// Takes the question of an MCP server, or the one that Codex asks before it calls a server's tool.
fn elicitation(id: &Value, params: &Value, context: &Context<'_>) -> Asked {
    let server = shortened(&text(params, "serverName").unwrap_or_default(), SHORT_LIMIT);
    let message = text(params, "message").unwrap_or_default();
    let meta = params.get("_meta").unwrap_or(&Value::Null);
    let fields = params.get("requestedSchema").and_then(|schema| schema.get("properties"));
    let is_plain = text(params, "mode").as_deref() == Some("form")
        && fields.and_then(Value::as_object).is_some_and(serde_json::Map::is_empty);
    if !is_plain {
        let said = shortened(&message, SHORT_LIMIT);
        return Asked::Answered {
            result: Answer::Elicitation.result(Reply::Decline),
            warning: format!("MCP server `{server}` asked for input, and was declined: {said}"),
        };
    }
    let is_call = text(meta, "codex_approval_kind").as_deref() == Some("mcp_tool_call");
    let tool = match text(meta, "tool_name") {
        Some(name) if is_call => ToolUse::Mcp {
            server,
            name: shortened(&name, SHORT_LIMIT),
            arguments: meta.get("tool_params").map_or_else(|| "{}".to_owned(), Value::to_string),
            definition: None,
        },
        _ => ToolUse::Other { name: format!("{server}/elicitation"), input: message.clone() },
    };
    let (size, item) = match &tool {
        ToolUse::Mcp { server, name, arguments, .. } => (arguments.len(), (context.mcp_item)(server, name)),
        _ => (message.len(), None),
    };
    if size > TEXT_LIMIT {
        return too_long(&Answer::Elicitation, "mcp");
    }
    let persists = meta.get("persist").and_then(Value::as_array);
    let request = ConsentRequest {
        item: item.map_or_else(|| format!("elicitation {id}"), str::to_owned),
        tool,
        cwd: None,
        reason: Some(shortened(&message, SHORT_LIMIT)).filter(|_| is_call),
        escalated: false,
        offers_session: persists.is_some_and(|ways| ways.iter().any(|way| way == "session")),
    };
    Asked::Wanted(Wanted { request, answer: Answer::Elicitation })
}

fn reason(params: &Value) -> Option<String> {
    text(params, "reason").map(|reason| shortened(&reason, SHORT_LIMIT))
}

fn questions(params: &Value) -> String {
    let questions = params.get("questions").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let asked: Vec<_> = questions.iter().filter_map(|question| text(question, "question")).collect();
    shortened(&asked.join(" / "), SHORT_LIMIT)
}

fn without(params: &Value, fields: &[&str]) -> Value {
    let all = params.as_object().into_iter().flatten();
    let kept = all.filter(|(name, _)| !fields.contains(&name.as_str()));
    Value::Object(kept.map(|(name, value)| (name.clone(), value.clone())).collect())
}
