//! What the server tells and asks while a conversation goes on.

use serde_json::{Value, json};

use super::super::consent::{Asked, Context, Reply, Wanted, asked};
use super::super::items::{call, call_outcome, error, usage};
use super::{Consent, Phase, Talk};
use crate::observation::{AgentObservation, MOST_PLAN_ENTRIES, TodoItem};
use crate::recorder::Observe;
use crate::rpc;
use crate::text::{SHORT_LIMIT, TEXT_LIMIT, shortened};

/// Bounds the consents that wait for a decision; Codex asks for few at a time.
const MAX_CONSENTS: usize = 128;
/// Lists what the server tells and nobody here needs: whole methods, or their beginnings up to a `/`.
const QUIET: &[&str] = &[
    "account/",
    "app/",
    "autoApprovalReview/",
    "externalAgentConfig/",
    "fs/",
    "hook/",
    "item/",
    "mcpServer/",
    "model/",
    "modelProvider/",
    "project/",
    "rawResponse/",
    "rawResponseItem/",
    "remoteControl/",
    "skills/",
    "thread/",
    "turn/",
    "windows/",
    "windowsSandbox/",
];
/// Lists the items that are neither calls nor said to anybody.
const QUIET_ITEMS: &[&str] = &[
    "contextCompaction",
    "enteredReviewMode",
    "exitedReviewMode",
    "functionCallOutput",
    "hookPrompt",
    "imageGeneration",
    "imageView",
    "plan",
    "sleep",
    "subAgentActivity",
    "userMessage",
];

impl Talk {
    pub(super) fn request(
        &mut self,
        id: &Value,
        method: &str,
        params: &Value,
        whole: bool,
        observe: Observe<'_>,
    ) {
        let context = Context {
            announced: &|item| self.recorder.open_call(item),
            mcp_item: &|server, tool| self.recorder.open_mcp_call(server, tool),
            sandbox: self.opening.sandbox,
            whole,
        };
        match asked(method, id, params, &context) {
            Asked::Wanted(wanted) if self.consents.len() < MAX_CONSENTS => self.wanted(id, wanted, observe),
            Asked::Wanted(wanted) => {
                self.send(&rpc::response(id, &wanted.answer.result(Reply::Decline)));
                self.recorder.warn("a consent was declined: too many are open".to_owned(), observe);
            }
            Asked::Answered { result, warning } => {
                self.send(&rpc::response(id, &result));
                self.recorder.warn(warning, observe);
            }
            Asked::Unknown => {
                let method = shortened(method, 64);
                self.send(&rpc::refusal(id, rpc::METHOD_NOT_FOUND, "this client does not do that"));
                self.recorder.warn(format!("the agent asked for `{method}`, and was refused"), observe);
                self.unknown(&method);
            }
        }
    }

    fn wanted(&mut self, id: &Value, wanted: Wanted, observe: Observe<'_>) {
        let Wanted { mut request, answer } = wanted;
        request.item = shortened(&request.item, SHORT_LIMIT);
        if self.consents.contains_key(&request.item) {
            request.item = format!("{}#{id}", request.item);
        }
        let offers_session = request.offers_session;
        let consent = Consent { id: id.clone(), answer, offers_session, reply: None };
        if let Some(replaced) = self.consents.insert(request.item.clone(), consent) {
            // Two requests with one id break the protocol; neither may be left hanging.
            self.send(&rpc::response(&replaced.id, &replaced.answer.result(Reply::Decline)));
        }
        observe(AgentObservation::ConsentWanted(Box::new(request)));
    }

    pub(super) fn notification(&mut self, method: &str, params: &Value, whole: bool, observe: Observe<'_>) {
        let field = |name: &str| params.get(name).and_then(Value::as_str).unwrap_or_default();
        // Other threads are those of agents that the agent has called in: what they do counts, what they say does not.
        let own = self.recorder.report.thread_id.as_ref().is_none_or(|own| match field("threadId") {
            "" => true,
            thread => thread == own.as_str(),
        });
        match method {
            "item/started" | "item/completed" | "item/fileChange/patchUpdated" => {
                self.item(method, params, own, whole, observe);
            }
            "item/commandExecution/outputDelta" => {
                self.recorder.output(field("itemId"), field("delta"), observe);
            }
            "item/mcpToolCall/progress" => self.recorder.call_begun(field("itemId"), observe),
            "serverRequest/resolved" => self.resolved(params.get("requestId"), observe),
            "error" if own => self.error(params, observe),
            "warning" | "guardianWarning" => self.warn(field("message"), observe),
            "configWarning" | "deprecationNotice" => self.warn(field("summary"), observe),
            "model/rerouted" => {
                let message =
                    format!("model `{}` was replaced by `{}`", field("fromModel"), field("toModel"));
                self.warn(&message, observe);
            }
            "item/agentMessage/delta" if own => {
                observe(AgentObservation::MessageDelta { text: shortened(field("delta"), TEXT_LIMIT) });
            }
            "thread/tokenUsage/updated" if own => {
                let counts = params.get("tokenUsage");
                if let Some(total) = usage(counts.and_then(|counts| counts.get("total"))) {
                    let last = usage(counts.and_then(|counts| counts.get("last")));
                    self.recorder.usage(total, last, observe);
                }
            }
            "turn/plan/updated" if own => observe(plan(params)),
            "turn/started" if own => {
                let turn = params.get("turn").and_then(|turn| turn.get("id")).and_then(Value::as_str);
                self.runs(turn.unwrap_or_default());
                self.recorder.turn_started(observe);
            }
            "turn/completed" if own => self.turn_ended(params.get("turn").unwrap_or(&Value::Null), observe),
            "error" => {}
            _ if QUIET.iter().any(|quiet| method.starts_with(quiet)) => {}
            _ => self.unknown(method),
        }
    }

    fn warn(&mut self, message: &str, observe: Observe<'_>) {
        self.recorder.warn(shortened(message, TEXT_LIMIT), observe);
    }

    fn error(&mut self, params: &Value, observe: Observe<'_>) {
        let (message, class) = error(params.get("error"));
        if params.get("willRetry").and_then(Value::as_bool).unwrap_or(false) {
            self.recorder.warn(message, observe);
        } else {
            self.held_error = Some((message, class));
        }
    }

    fn item(&mut self, method: &str, params: &Value, own: bool, whole: bool, observe: Observe<'_>) {
        // A patch that is still being written is told by its changes alone.
        let patch;
        let item = if method == "item/fileChange/patchUpdated" {
            let changes = params.get("changes").unwrap_or(&Value::Null);
            patch = json!({ "type": "fileChange", "id": params.get("itemId"), "changes": changes });
            &patch
        } else {
            params.get("item").unwrap_or(&Value::Null)
        };
        let field = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default();
        let (id, done) = (field("id"), method == "item/completed");
        if let Some(call) = call(item, &self.recorder, whole) {
            if done {
                self.close_consents(|item, _| item == id, observe);
                self.recorder.call_finished(id, call.tool, call.cwd, call_outcome(item), observe);
            } else {
                self.recorder.call_announced(id, call.tool, call.cwd, call.whole);
                if call.runs {
                    self.recorder.call_begun(id, observe);
                }
            }
            return;
        }
        match (field("type"), done && own) {
            ("agentMessage", true) => {
                self.recorder.message(shortened(field("text"), TEXT_LIMIT), observe);
            }
            ("reasoning", true) => {
                let parts = item.get("summary").and_then(Value::as_array).into_iter().flatten();
                let text = parts.filter_map(Value::as_str).collect::<Vec<_>>().join("\n");
                if !text.trim().is_empty() {
                    observe(AgentObservation::Reasoning { text: shortened(&text, TEXT_LIMIT) });
                }
            }
            ("webSearch", true) => {
                observe(AgentObservation::SearchMade { query: shortened(field("query"), SHORT_LIMIT) });
            }
            ("agentMessage" | "reasoning" | "webSearch", false) => {}
            (kind, _) if QUIET_ITEMS.contains(&kind) => {}
            (kind, _) => self.unknown(&format!("item:{kind}")),
        }
    }

    /// Takes the server's word that one of its requests is settled, by our answer or without it.
    fn resolved(&mut self, id: Option<&Value>, observe: Observe<'_>) {
        let item = self.consents.iter().find(|(_, consent)| Some(&consent.id) == id).map(|(item, _)| item);
        let Some(item) = item.cloned() else { return };
        let reply = self.consents.remove(&item).and_then(|consent| consent.reply);
        match reply {
            // What was answered does not stand in a recording; a refusal follows as the end of the call.
            None if self.silent => self.recorder.call_begun(&item, observe),
            Some(Reply::Once | Reply::Session) => self.recorder.call_begun(&item, observe),
            Some(Reply::Decline | Reply::Cancel) => self.recorder.call_declined(&item),
            None => self.close(item, observe),
        }
    }

    /// Takes the word that nobody will be heard about a consent any more: what it was wanted for is not done.
    fn close(&mut self, item: String, observe: Observe<'_>) {
        self.recorder.call_declined(&item);
        observe(AgentObservation::ConsentClosed { item });
    }

    pub(super) fn close_consents(&mut self, closes: impl Fn(&str, &Consent) -> bool, observe: Observe<'_>) {
        let closed: Vec<String> = self
            .consents
            .iter()
            .filter(|(item, consent)| closes(item, consent))
            .map(|(item, _)| item.clone())
            .collect();
        for item in closed {
            match self.consents.remove(&item).and_then(|consent| consent.reply) {
                None => self.close(item, observe),
                Some(Reply::Decline | Reply::Cancel) => self.recorder.call_declined(&item),
                Some(Reply::Once | Reply::Session) => {}
            }
        }
    }

    fn turn_ended(&mut self, turn: &Value, observe: Observe<'_>) {
        let id = turn.get("id").and_then(Value::as_str);
        // The end of an earlier turn is not the end of this one.
        let running = self.turn.as_deref().filter(|_| self.phase == Phase::Running);
        if let (Some(running), Some(id)) = (running, id)
            && running != id
        {
            return;
        }
        self.close_consents(|_, _| true, observe);
        for _ in std::mem::take(&mut self.queued) {
            self.recorder.warn("the turn ended before the agent could be told a message".to_owned(), observe);
        }
        self.phase = Phase::Ended;
        self.turn = None;
        self.interrupting = false;
        let held = self.held_error.take();
        match turn.get("status").and_then(Value::as_str) {
            Some("completed") => self.recorder.turn_completed(observe),
            Some("interrupted") => self.recorder.turn_interrupted(observe),
            _ => {
                let (message, class) = error(turn.get("error").filter(|error| error.is_object()));
                let (held, held_class) = held.unwrap_or_default();
                let message = if message.is_empty() { held } else { message };
                self.recorder.turn_failed(message, class.or(held_class), observe);
            }
        }
    }
}

fn plan(params: &Value) -> AgentObservation {
    let steps = params.get("plan").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let text = |step: &Value, field: &str| {
        shortened(step.get(field).and_then(Value::as_str).unwrap_or_default(), SHORT_LIMIT)
    };
    let items = steps
        .iter()
        .take(MOST_PLAN_ENTRIES)
        .map(|step| TodoItem { text: text(step, "step"), completed: text(step, "status") == "completed" });
    AgentObservation::TodoChanged { items: items.collect() }
}
