//! The two dialects in which a scripted model answers: OpenAI's Responses and Anthropic's Messages.
//!
//! Pure: turns the parts of a step into the events of one dialect. One script serves both; what the model says and
//! calls is the same, only the names of the agents' own tools differ.

use serde_json::{Value, json};

use crate::{End, Output, Step};

/// Tells which API a request speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `POST …/responses`, as Codex asks.
    Responses,
    /// `POST …/messages`, as Claude Code asks.
    Messages,
}

impl Dialect {
    /// Returns the dialect of a request to `path`; none if it is not one to the model.
    pub(crate) fn of(method: &str, path: &str) -> Option<Self> {
        let path = path.split('?').next().filter(|_| method == "POST")?;
        if path.ends_with("/responses") {
            Some(Self::Responses)
        } else if path.ends_with("/messages") {
            Some(Self::Messages)
        } else {
            None
        }
    }

    /// Returns the part of a request's body that a step's conditions look at.
    pub(crate) fn input(self, body: &Value) -> &Value {
        match self {
            Self::Responses => &body["input"],
            Self::Messages => &body["messages"],
        }
    }

    /// Returns a failure in the form that clients of the dialect read.
    pub(crate) fn exhausted(self) -> Value {
        let message = "the script of the model server has no step left for this request";
        match self {
            Self::Responses => json!({"error": {"message": message, "code": "script_exhausted"}}),
            Self::Messages => {
                json!({"type": "error", "error": {"type": "invalid_request_error", "message": message}})
            }
        }
    }

    /// Returns what stands before the first output.
    pub(crate) fn opening(self, id: usize, request: &Value, step: &Step) -> Vec<Value> {
        match self {
            Self::Responses => Vec::new(),
            Self::Messages => {
                let usage = usage_of(&step.end);
                let usage = json!({
                    "input_tokens": usage.input, "output_tokens": 1,
                    "cache_read_input_tokens": usage.cached, "cache_creation_input_tokens": 0,
                });
                let message = json!({
                    "id": format!("msg_{id}"), "type": "message", "role": "assistant", "model": request["model"],
                    "content": [], "stop_reason": null, "stop_sequence": null, "usage": usage,
                });
                vec![json!({"type": "message_start", "message": message})]
            }
        }
    }

    /// Returns the events of one output; `id` is unique within the server, `index` within the answer.
    pub(crate) fn output(self, output: &Output, id: usize, index: usize) -> Vec<Value> {
        match self {
            Self::Responses => vec![json!({"type": "response.output_item.done", "item": output.item(id)})],
            Self::Messages => {
                let (block, deltas) = block(output, id);
                let start = json!({"type": "content_block_start", "index": index, "content_block": block});
                let deltas = deltas
                    .into_iter()
                    .map(|delta| json!({"type": "content_block_delta", "index": index, "delta": delta}));
                let stop = json!({"type": "content_block_stop", "index": index});
                std::iter::once(start).chain(deltas).chain([stop]).collect()
            }
        }
    }

    /// Returns the last events; none where the stream just ends or hangs.
    pub(crate) fn end(self, step: &Step, id: usize) -> Vec<Value> {
        match self {
            Self::Responses => responses_end(&step.end, id),
            Self::Messages => messages_end(step),
        }
    }
}

fn usage_of(end: &End) -> crate::model_script::Usage {
    if let End::Completed { usage } = end { *usage } else { crate::model_script::Usage::default() }
}

fn responses_end(end: &End, id: usize) -> Vec<Value> {
    let id = format!("resp_{id}");
    match end {
        End::Completed { usage } => {
            let usage = json!({
                "input_tokens": usage.input, "input_tokens_details": {"cached_tokens": usage.cached},
                "output_tokens": usage.output, "output_tokens_details": {"reasoning_tokens": usage.reasoning},
                "total_tokens": usage.input + usage.output,
            });
            vec![json!({"type": "response.completed", "response": {"id": id, "usage": usage}})]
        }
        End::Failed { code, message } => {
            let error = json!({"code": code, "message": message});
            vec![json!({"type": "response.failed", "response": {"id": id, "error": error}})]
        }
        End::Incomplete { reason } => {
            let response = json!({"id": id, "incomplete_details": {"reason": reason}});
            vec![json!({"type": "response.incomplete", "response": response})]
        }
        End::Cut | End::Hang | End::Http { .. } => Vec::new(),
    }
}

fn messages_end(step: &Step) -> Vec<Value> {
    let reason = match &step.end {
        End::Completed { .. } if step.output.iter().any(calls_a_tool) => "tool_use",
        End::Completed { .. } => "end_turn",
        End::Incomplete { reason } => reason,
        End::Failed { code, message } => {
            return vec![json!({"type": "error", "error": {"type": code, "message": message}})];
        }
        End::Cut | End::Hang | End::Http { .. } => return Vec::new(),
    };
    let delta = json!({"stop_reason": reason, "stop_sequence": null});
    let usage = json!({"output_tokens": usage_of(&step.end).output});
    vec![json!({"type": "message_delta", "delta": delta, "usage": usage}), json!({"type": "message_stop"})]
}

fn calls_a_tool(output: &Output) -> bool {
    match output {
        Output::Shell { .. } | Output::ApplyPatch { .. } => true,
        Output::Message { .. } | Output::Reasoning { .. } => false,
        Output::Item { item } => item["type"] == "tool_use",
    }
}

/// Returns the content block of an output as it begins, and the deltas that fill it.
fn block(output: &Output, id: usize) -> (Value, Vec<Value>) {
    let tool = |name: &Value, input: &Value| {
        let block = json!({"type": "tool_use", "id": format!("toolu_{id}"), "name": name, "input": {}});
        (block, vec![json!({"type": "input_json_delta", "partial_json": input.to_string()})])
    };
    match output {
        Output::Shell { command } => tool(&"Bash".into(), &json!({ "command": command })),
        Output::ApplyPatch { patch } => tool(&"apply_patch".into(), &json!({ "input": patch })),
        Output::Message { text } => {
            // Two deltas, so that a reader of the stream sees a text grow.
            let half = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(place, _)| place);
            let (first, second) = text.split_at(half);
            let deltas = [first, second].map(|text| json!({"type": "text_delta", "text": text}));
            (json!({"type": "text", "text": ""}), deltas.to_vec())
        }
        Output::Reasoning { text } => {
            let deltas = vec![
                json!({"type": "thinking_delta", "thinking": text}),
                json!({"type": "signature_delta", "signature": "scripted"}),
            ];
            (json!({"type": "thinking", "thinking": "", "signature": ""}), deltas)
        }
        Output::Item { item } if item["type"] == "tool_use" => tool(&item["name"], &item["input"]),
        Output::Item { item } => (item.clone(), Vec::new()),
    }
}
