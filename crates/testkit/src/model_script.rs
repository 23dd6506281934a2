//! The script of a model: what it answers, request by request, and in which order steps are taken.
//!
//! A script is written with the builders of [`Step`] or as JSON (`{"steps": […]}`), field for field the same.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Lists the answers of a scripted model.
///
/// For each request the first unused step is taken whose conditions hold; steps that name a condition go before
/// steps that name none. When nothing is left the server answers HTTP 400 and says so.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// The steps, in the order in which they are offered.
    pub steps: Vec<Step>,
}

/// Describes one answer of the model: some outputs, then an end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Takes this step only if any text of the request's input contains this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Takes this step only if the last item of the request's input contains this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when_last: Option<String>,
    /// Keeps the step for further requests instead of using it up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub repeat: bool,
    /// What the model says and calls, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub output: Vec<Output>,
    /// How the answer ends.
    #[serde(default)]
    pub end: End,
}

/// Describes one thing that the model says or calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Output {
    /// Calls the agent's shell (`exec_command` of Codex, `Bash` of Claude Code) with a shell line.
    Shell {
        /// The shell line.
        command: String,
    },
    /// Calls `apply_patch` with a patch in Codex's own format.
    ApplyPatch {
        /// The patch, from `*** Begin Patch` to `*** End Patch`.
        patch: String,
    },
    /// Says something to the user.
    Message {
        /// What is said.
        text: String,
    },
    /// Shows a reasoning summary.
    Reasoning {
        /// The summary.
        text: String,
    },
    /// Sends any other item of the Responses API, or content block of the Messages API, as it stands.
    ///
    /// A `tool_use` block gets its id from the server.
    Item {
        /// The item.
        item: Value,
    },
}

/// Describes how an answer ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum End {
    /// Completes the response and reports what it used.
    Completed {
        /// The tokens that this one request used.
        #[serde(default)]
        usage: Usage,
    },
    /// Ends the stream with `response.failed`.
    Failed {
        /// The code, for example `server_is_overloaded` or `context_length_exceeded`.
        code: String,
        /// The text beside the code.
        message: String,
    },
    /// Ends the stream with `response.incomplete`.
    Incomplete {
        /// The reason, for example `max_output_tokens`.
        reason: String,
    },
    /// Answers with an HTTP failure; the outputs of the step are not sent.
    Http {
        /// The status code.
        status: u16,
        /// The JSON body.
        body: Value,
    },
    /// Closes the connection after the outputs, without a terminal event.
    Cut,
    /// Keeps the connection open and silent until [`ModelServer::release`](crate::ModelServer::release).
    Hang,
}

impl Default for End {
    fn default() -> Self {
        Self::Completed { usage: Usage::default() }
    }
}

/// Counts the tokens of one request, as the Responses API reports them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Usage {
    /// All input tokens, cached ones included.
    pub input: u64,
    /// Input tokens served from the cache.
    pub cached: u64,
    /// All output tokens, reasoning included.
    pub output: u64,
    /// Output tokens spent on reasoning.
    pub reasoning: u64,
}

impl Default for Usage {
    fn default() -> Self {
        Self { input: 100, cached: 10, output: 20, reasoning: 5 }
    }
}

impl Script {
    /// Returns a script of these steps.
    pub fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: steps.into_iter().collect() }
    }

    /// Reads a script from its JSON form.
    ///
    /// # Errors
    /// The parser's message, with line and column.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

impl Step {
    /// Calls the shell.
    pub fn shell(command: impl Into<String>) -> Self {
        Self::default().then(Output::Shell { command: command.into() })
    }

    /// Calls `apply_patch`.
    pub fn apply_patch(patch: impl Into<String>) -> Self {
        Self::default().then(Output::ApplyPatch { patch: patch.into() })
    }

    /// Calls a tool of Claude Code's.
    pub fn tool(name: &str, input: &Value) -> Self {
        Self::default().then(Output::Item { item: json!({"type": "tool_use", "name": name, "input": input}) })
    }

    /// Says something; with nothing else in the step this ends the turn.
    pub fn message(text: impl Into<String>) -> Self {
        Self::default().then(Output::Message { text: text.into() })
    }

    /// Shows a reasoning summary.
    pub fn reasoning(text: impl Into<String>) -> Self {
        Self::default().then(Output::Reasoning { text: text.into() })
    }

    /// Answers with an HTTP failure.
    pub fn http(status: u16, body: Value) -> Self {
        Self::default().end(End::Http { status, body })
    }

    /// Answers like a server that does not know the key.
    pub fn unauthorized() -> Self {
        Self::http(
            401,
            json!({"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}}),
        )
    }

    /// Answers like a plan whose limit is used up.
    pub fn usage_limit() -> Self {
        let error = json!({"type": "usage_limit_reached", "message": "limit reached", "plan_type": "plus"});
        Self::http(429, json!({ "error": error }))
    }

    /// Ends the stream with `response.failed`.
    pub fn failed(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::default().end(End::Failed { code: code.into(), message: message.into() })
    }

    /// Closes the connection before the response is complete.
    pub fn cut() -> Self {
        Self::default().end(End::Cut)
    }

    /// Keeps the connection silent until the test releases it.
    pub fn hang() -> Self {
        Self::default().end(End::Hang)
    }

    /// Adds an output.
    #[must_use]
    pub fn then(mut self, output: Output) -> Self {
        self.output.push(output);
        self
    }

    /// Replaces the end.
    #[must_use]
    pub fn end(mut self, end: End) -> Self {
        self.end = end;
        self
    }

    /// Takes the step only if the request's input contains `text` anywhere.
    #[must_use]
    pub fn when(mut self, text: impl Into<String>) -> Self {
        self.when = Some(text.into());
        self
    }

    /// Takes the step only if the last item of the request's input contains `text`.
    #[must_use]
    pub fn when_last(mut self, text: impl Into<String>) -> Self {
        self.when_last = Some(text.into());
        self
    }

    /// Keeps the step for every further request.
    #[must_use]
    pub fn repeated(mut self) -> Self {
        self.repeat = true;
        self
    }

    pub(crate) fn is_conditional(&self) -> bool {
        self.when.is_some() || self.when_last.is_some()
    }

    pub(crate) fn matches(&self, input: &Value) -> bool {
        let everywhere = self.when.as_ref().is_none_or(|text| contains(input, text));
        let last = input.as_array().and_then(|items| items.last()).unwrap_or(input);
        everywhere && self.when_last.as_ref().is_none_or(|text| contains(last, text))
    }
}

/// Tells whether any string inside `value` contains `text`; keys are not looked at.
fn contains(value: &Value, text: &str) -> bool {
    match value {
        Value::String(string) => string.contains(text),
        Value::Array(items) => items.iter().any(|item| contains(item, text)),
        Value::Object(fields) => fields.values().any(|field| contains(field, text)),
        _ => false,
    }
}

impl Output {
    /// Returns the item of the Responses API; `id` is unique within the server.
    pub(crate) fn item(&self, id: usize) -> Value {
        match self {
            Self::Shell { command } => json!({
                "type": "function_call", "id": format!("fc_{id}"), "call_id": format!("call_{id}"),
                "name": "exec_command", "arguments": json!({ "cmd": command }).to_string(),
            }),
            Self::ApplyPatch { patch } => json!({
                "type": "custom_tool_call", "id": format!("ctc_{id}"), "call_id": format!("call_{id}"),
                "name": "apply_patch", "input": patch,
            }),
            Self::Message { text } => json!({
                "type": "message", "role": "assistant", "id": format!("msg_{id}"),
                "content": [{"type": "output_text", "text": text}],
            }),
            Self::Reasoning { text } => json!({
                "type": "reasoning", "id": format!("rs_{id}"),
                "summary": [{"type": "summary_text", "text": text}],
            }),
            Self::Item { item } => item.clone(),
        }
    }
}
