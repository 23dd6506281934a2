//! The tools: what they are called, what they take and answer, and what a client may expect of them.

mod answers;
mod arguments;
mod commanding;
mod looking;
mod output;
mod sessions;

use std::sync::Arc;

use co_model::RunId;
use rmcp::handler::server::common::{schema_for_input, schema_for_output};
use rmcp::model::{InputRequiredResult, JsonObject, Tool, ToolAnnotations};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::caller::Caller;
use crate::desk::Desk;
use crate::host::Refusal;

pub(crate) use looking::{pipelines, snapshot_events};

/// The longest text a tool accepts in one argument, in bytes.
const LONGEST_TEXT: usize = 100_000;

/// What a tool call led to.
pub(crate) enum Outcome {
    /// An answer that fits the tool's output schema.
    Answer(Value),
    /// The client is to ask its person first.
    Asks(Box<InputRequiredResult>),
}

/// What a client may expect of a tool.
#[derive(Clone, Copy)]
enum Kind {
    /// Changes nothing.
    Look,
    /// Starts or continues work: programs run, which may do anything.
    Work,
    /// Works again when repeated, with no more effect than once, and undoes nothing.
    Mend,
    /// Speaks to a run; a repetition speaks again.
    Speak,
    /// Ends work that is under way.
    Stop,
}

impl Kind {
    fn annotations(self) -> ToolAnnotations {
        let (read_only, destructive, idempotent, open_world) = match self {
            Self::Look => (true, false, true, false),
            Self::Work => (false, true, false, true),
            Self::Mend => (false, false, true, false),
            Self::Speak => (false, false, false, true),
            Self::Stop => (false, true, true, false),
        };
        ToolAnnotations::new()
            .read_only(read_only)
            .destructive(destructive)
            .idempotent(idempotent)
            .open_world(open_world)
    }
}

fn tool<Arguments, Answer>(name: &'static str, title: &str, kind: Kind, description: &'static str) -> Tool
where
    Arguments: JsonSchema + 'static,
    Answer: JsonSchema + 'static,
{
    // An argument type is a struct, whose schema is an object; a test lists all of them.
    let takes = schema_for_input::<Arguments>().unwrap_or_default();
    Tool::new(name, description, plain(&takes, Nulls::Absent))
        .with_title(title)
        .with_raw_output_schema(plain(&schema_for_output::<Answer>(), Nulls::Written))
        .with_annotations(kind.annotations())
}

/// All tools, in the order they are listed.
pub(crate) fn all() -> Vec<Tool> {
    let mut status = tool::<arguments::RunStatus, answers::Commanded>(
        "run_status",
        "Show a run",
        Kind::Look,
        "Shows where a run stands, stage by stage, and can wait for its end. While it waits, the run's questions are put before the person at the client, where the client can do that.",
    );
    status.output_schema = Some(view_schema("status"));
    let runs = vec![
        tool::<arguments::ListPipelines, answers::Pipelines>(
            "list_pipelines",
            "List pipelines",
            Kind::Look,
            "Lists the pipelines of the repository that can be started.",
        ),
        tool::<arguments::Plan, answers::Planned>(
            "plan",
            "Plan a run",
            Kind::Look,
            "Shows what a run would do, without starting one.",
        ),
        tool::<arguments::StartRun, answers::Begun>(
            "start_run",
            "Start a run",
            Kind::Work,
            "Starts a run of a pipeline and returns at once with its id. The run belongs to a process of its own: it goes on when this connection ends. Follow it with run_events or run_status.",
        ),
        status,
        tool::<arguments::ListRuns, answers::Runs>(
            "list_runs",
            "List runs",
            Kind::Look,
            "Lists runs, newest first.",
        ),
        tool::<arguments::RunEvents, answers::Events>(
            "run_events",
            "Read a run's events",
            Kind::Look,
            "Reads what happened in a run after an event that is known already, and can wait for the next one. While it waits, the run's questions are put before the person at the client, where the client can do that.",
        ),
        tool::<arguments::RunLogs, answers::Log>(
            "run_logs",
            "Read a stage's output",
            Kind::Look,
            "Reads a piece of what a stage has printed.",
        ),
        tool::<arguments::CancelRun, answers::Commanded>(
            "cancel_run",
            "Cancel a run",
            Kind::Stop,
            "Stops a run and everything it started. Returns when its owner has taken the request; the run ends soon after.",
        ),
        tool::<arguments::ResumeRun, answers::Begun>(
            "resume_run",
            "Resume a run",
            Kind::Work,
            "Lets an interrupted, failed or cancelled run go on where it stopped. Finished stages are not run again.",
        ),
        tool::<arguments::RetryRun, answers::Begun>(
            "retry_run",
            "Retry a run",
            Kind::Work,
            "Starts a fresh run like an earlier one.",
        ),
        tool::<arguments::AnswerQuestion, answers::Commanded>(
            "answer_question",
            "Answer a question",
            Kind::Speak,
            "Answers the open question of a gate with yes or no. Questions are for people: answer one only when a person told you what to answer. The first answer counts.",
        ),
        tool::<arguments::SteerAgent, answers::Commanded>(
            "steer_agent",
            "Steer an agent",
            Kind::Speak,
            "Gives an agent at work in a run a further message.",
        ),
        tool::<arguments::Recover, answers::Recovery>(
            "recover",
            "Recover runs",
            Kind::Mend,
            "Mends runs whose owner is gone: what is left of them is ended and recorded, so that they can be resumed.",
        ),
    ];
    runs.into_iter().chain(sessions::all()).collect()
}

/// Writes a schema in the words that every client knows: no formats that say how wide a number is
/// in memory, and one type at a time. An argument that may be left out need not be null as well.
fn plain(schema: &JsonObject, nulls: Nulls) -> Arc<JsonObject> {
    let mut schema = schema.clone();
    schema.values_mut().for_each(|value| simplify(value, nulls));
    Arc::new(schema)
}

/// What becomes of values that may be null.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nulls {
    /// They are left out instead.
    Absent,
    /// They are written.
    Written,
}

fn simplify(value: &mut Value, nulls: Nulls) {
    let fields = match value {
        Value::Object(fields) => fields,
        Value::Array(values) => return values.iter_mut().for_each(|value| simplify(value, nulls)),
        _ => return,
    };
    let width = |format: &str| ["int", "uint", "float", "double"].iter().any(|kind| format.starts_with(kind));
    if fields.get("format").and_then(Value::as_str).is_some_and(width) {
        fields.remove("format");
    }
    let types = fields.get("type").and_then(Value::as_array);
    let or_null = types.filter(|types| types.len() == 2 && types.contains(&Value::from("null")));
    if let Some(only) = or_null.and_then(|types| types.iter().find(|kind| **kind != "null")).cloned() {
        fields.insert("type".to_owned(), only);
        if nulls == Nulls::Written {
            let description = fields.remove("description");
            let branches = vec![Value::Object(std::mem::take(fields)), json!({ "type": "null" })];
            fields.insert("anyOf".to_owned(), Value::Array(branches));
            fields.extend(description.map(|text| ("description".to_owned(), text)));
        }
    }
    fields.values_mut().for_each(|value| simplify(value, nulls));
}

/// The shipped schema of a view, as the schema of an answer.
fn view_schema(name: &str) -> Arc<JsonObject> {
    match co_views::schema(name) {
        Some(Value::Object(mut schema)) => {
            schema.remove("title");
            schema.remove("description");
            plain(&schema, Nulls::Written)
        }
        _ => Arc::default(),
    }
}

/// Carries out a tool call; `None` when there is no such tool.
pub(crate) async fn call(
    desk: &Desk,
    caller: &Caller,
    name: &str,
    arguments: Option<JsonObject>,
) -> Option<Result<Outcome, Refusal>> {
    let given = Given { tool: name, arguments };
    Some(match name {
        "list_pipelines" => answer(looking::list_pipelines(desk, given.read()).await),
        "plan" => answer(looking::plan(desk, given.read()).await),
        "run_status" => looking::run_status(desk, caller, given.read()).await,
        "list_runs" => answer(looking::list_runs(desk, given.read()).await),
        "run_events" => looking::run_events(desk, caller, given.read()).await,
        "run_logs" => answer(output::run_logs(desk, given.read()).await),
        "start_run" => answer(commanding::start_run(desk, caller, given.read()).await),
        "resume_run" => answer(commanding::resume_run(desk, caller, given.read()).await),
        "retry_run" => answer(commanding::retry_run(desk, caller, given.read()).await),
        "cancel_run" => answer(commanding::cancel_run(desk, caller, given.read()).await),
        "answer_question" => answer(commanding::answer_question(desk, caller, given.read()).await),
        "steer_agent" => answer(commanding::steer_agent(desk, caller, given.read()).await),
        "recover" => answer(commanding::recover(desk, given.read()).await),
        _ => return sessions::call(desk, caller, given).await,
    })
}

/// The arguments of a call as they came.
struct Given<'n> {
    tool: &'n str,
    arguments: Option<JsonObject>,
}

impl Given<'_> {
    fn read<T: DeserializeOwned>(self) -> Result<T, Refusal> {
        let tool = self.tool;
        let value = Value::Object(self.arguments.unwrap_or_default());
        if let Some(name) = too_long(&value) {
            let message = format!("the argument `{name}` of `{tool}` is longer than {LONGEST_TEXT} bytes");
            return Err(Refusal::usage(message));
        }
        serde_json::from_value(value)
            .map_err(|error| Refusal::usage(format!("the arguments of `{tool}` do not fit: {error}")))
    }
}

fn too_long(arguments: &Value) -> Option<&str> {
    let long = |value: &Value| value.as_str().is_some_and(|text| text.len() > LONGEST_TEXT);
    arguments.as_object()?.iter().find(|(_, value)| long(value)).map(|(name, _)| name.as_str())
}

fn answer<T: Serialize>(answered: Result<T, Refusal>) -> Result<Outcome, Refusal> {
    let value = serde_json::to_value(answered?).map_err(|error| Refusal::new(1, error.to_string()))?;
    Ok(Outcome::Answer(value))
}

fn run_id(text: &str) -> Result<RunId, Refusal> {
    RunId::new(text).map_err(Refusal::usage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_says_all_about_itself() {
        for tool in all() {
            let takes = &tool.input_schema;
            assert_eq!(takes.get("type"), Some(&Value::from("object")), "{}", tool.name);
            assert_eq!(takes.get("additionalProperties"), Some(&Value::from(false)), "{}", tool.name);
            let gives = tool.output_schema.as_ref().expect("an output schema");
            assert_eq!(gives.get("type"), Some(&Value::from("object")), "{}", tool.name);
            let hints = tool.annotations.as_ref().expect("annotations");
            for hint in
                [hints.read_only_hint, hints.destructive_hint, hints.idempotent_hint, hints.open_world_hint]
            {
                assert!(hint.is_some(), "{}", tool.name);
            }
        }
    }
}
