//! Reads a whole `codex.orchestrator.json` into pipelines, or into everything wrong with it.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use co_model::{
    AgentStage, CommandLine, Confinement, ExecutionMode, GateStage, McpStage, Needs, NestedStage,
    NetworkAccess, OutputReference, Pipeline, PipelineId, PipelineSource, Prompt, RetryOn, RetryPolicy, Role,
    SandboxMode, Stage, StageId, StageWork, When,
};
use indexmap::IndexMap;
use jsonc_parser::ast::{Object, Value};
use jsonc_parser::common::{Range, Ranged as _};
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use crate::canonical::canonical_json;
use crate::fields::{Fields, Spanned, json, name_range, split_reference, type_name};
use crate::keys::{FILE_KEYS, Kind, PIPELINE_KEYS, snake_case};
use crate::problem::{Report, closest, did_you_mean, shown};
use crate::resolve::resolve;

/// A retry without a stated wait still gives a flaky service a moment.
const DEFAULT_BACKOFF: Duration = Duration::from_secs(1);
/// A question nobody answered for a day is a no.
const DEFAULT_GATE_EXPIRY: Duration = Duration::from_hours(24);
/// Bounds of what a file may declare, so that checks stay quick; far above any real file.
const MOST_PIPELINES: usize = 1_000;
const MOST_STAGES: usize = 1_000;

/// What a file declares, with the places that later checks point to.
#[derive(Default)]
pub(crate) struct Draft {
    pub(crate) default: Option<Spanned<PipelineId>>,
    pub(crate) pipelines: Vec<PipelineDraft>,
}

/// A pipeline as far as it could be read.
pub(crate) struct PipelineDraft {
    pub(crate) id: Spanned<PipelineId>,
    pub(crate) stages: Vec<StageDraft>,
    /// Whether every stage has an id; without, references between stages cannot be judged.
    pub(crate) complete: bool,
    title: Option<String>,
    description: Option<String>,
    tags: Vec<String>,
    guardrails_required: bool,
    max_parallel: NonZeroU16,
    mcp_servers: Vec<String>,
}

/// A stage as far as it could be read: what others refer to, and the rest.
pub(crate) struct StageDraft {
    pub(crate) id: Spanned<StageId>,
    pub(crate) needs: Option<Vec<Spanned<StageId>>>,
    pub(crate) inputs: Vec<Spanned<OutputReference>>,
    pub(crate) outputs: Vec<String>,
    pub(crate) nested: Option<Spanned<PipelineId>>,
    pub(crate) aliases: Vec<String>,
    pub(crate) plan: Option<Range>,
    pub(crate) default_target: bool,
    /// Missing when a problem was reported.
    stage: Option<Stage>,
}

/// Reads a file's text; `outside` are the pipelines it may refer to beside its own.
///
/// Returns the pipelines and the default only when nothing was reported.
pub(crate) fn read(report: &Report<'_>, outside: &[PipelineId]) -> (Option<PipelineId>, Vec<Pipeline>) {
    // Strict JSON with comments and trailing commas: what editors call JSONC, nothing looser.
    let options = ParseOptions {
        allow_comments: true,
        allow_loose_object_property_names: false,
        allow_trailing_commas: true,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    let parsed = match parse_to_ast(report.text(), &CollectOptions::default(), &options) {
        Ok(parsed) => parsed,
        Err(error) => {
            let mut message = error.kind().to_string();
            if let Some(first) = message.get_mut(..1) {
                first.make_ascii_lowercase();
            }
            report.add(error.range(), format!("not valid JSON: {message}"));
            return Default::default();
        }
    };
    let Some(value) = parsed.value else {
        report.add_with(0..0, "the file is empty", || {
            Some("`codex-orchestrator init` writes a file to start from".to_owned())
        });
        return Default::default();
    };
    let Some(object) = value.as_object() else {
        report.add(value.range(), format!("the file must be an object, not {}", type_name(&value)));
        return Default::default();
    };
    let draft = read_file(object, report);
    resolve(&draft, outside, report);
    (draft.default.map(|id| id.value), draft.pipelines.into_iter().map(PipelineDraft::finish).collect())
}

fn read_file(object: &Object<'_>, report: &Report<'_>) -> Draft {
    let fields = Fields::open(object, &[FILE_KEYS], "the file", report, |_| None);
    let Some(pipelines) = fields.value("pipelines") else {
        report.add_with(open_brace(object), "the file has no `pipelines`", || {
            Some("add \"pipelines\": [{ \"id\": …, \"stages\": […] }]".to_owned())
        });
        return Draft::default();
    };
    let elements = pipelines.as_array().map_or(&[][..], |array| &array.elements);
    if elements.len() > MOST_PIPELINES {
        report.add(pipelines.range(), format!("the file has more than {MOST_PIPELINES} pipelines"));
        return Draft::default();
    }
    Draft {
        default: fields.pipeline_id("default_pipeline"),
        pipelines: elements
            .iter()
            .enumerate()
            .filter_map(|(index, value)| read_pipeline(index, value, report))
            .collect(),
    }
}

/// Names a thing by its id where it has one, else by its place in the list.
fn named(what: &str, index: usize, object: &Object<'_>) -> String {
    match object.get_string("id") {
        Some(id) if !id.value.trim().is_empty() => format!("{what} `{}`", shown(&id.value)),
        _ => format!("{what} {}", index + 1),
    }
}

fn read_pipeline(index: usize, value: &Value<'_>, report: &Report<'_>) -> Option<PipelineDraft> {
    let Some(object) = value.as_object() else {
        report.add(
            value.range(),
            format!("pipeline {} must be an object, not {}", index + 1, type_name(value)),
        );
        return None;
    };
    let place = named("pipeline", index, object);
    let fields = Fields::open(object, &[PIPELINE_KEYS], &place, report, |_| None);
    if fields.value("id").is_none() {
        report.add(open_brace(object), format!("{place} has no `id`"));
    }
    let mut stages = Vec::new();
    let mut complete = true;
    match fields.value("stages") {
        None => report.add(open_brace(object), format!("{place} has no `stages`")),
        Some(value) => {
            let elements = value.as_array().map_or(&[][..], |array| &array.elements);
            if value.as_array().is_some() && elements.is_empty() {
                report.add(value.range(), format!("`stages` of {place} is empty: a run would do nothing"));
            }
            if elements.len() > MOST_STAGES {
                report.add(value.range(), format!("{place} has more than {MOST_STAGES} stages"));
                return None;
            }
            stages.extend(
                elements.iter().enumerate().filter_map(|(index, value)| read_stage(index, value, report)),
            );
            complete = stages.len() == elements.len();
        }
    }
    Some(PipelineDraft {
        id: fields.pipeline_id("id")?,
        stages,
        complete,
        title: fields.text("title"),
        description: fields.text("description"),
        tags: fields.texts("tags").unwrap_or_default(),
        // The seeds' default of true reported missing guardrails on every pipeline that never
        // had one, so only a pipeline that asks for guardrails is judged by them.
        guardrails_required: fields.boolean("guardrails_required").unwrap_or(false),
        max_parallel: fields
            .count("max_parallel")
            .and_then(|count| NonZeroU16::new(u16::try_from(count).ok()?))
            .unwrap_or(NonZeroU16::MIN),
        mcp_servers: fields.texts("mcp_servers").unwrap_or_default(),
    })
}

/// The first character of an object: where to point when something is missing in it.
fn open_brace(object: &Object<'_>) -> Range {
    Range { start: object.range.start, end: object.range.start + 1 }
}

impl PipelineDraft {
    fn finish(self) -> Pipeline {
        Pipeline {
            title: self.title.unwrap_or_else(|| self.id.value.to_string()),
            id: self.id.value,
            description: self.description,
            tags: self.tags,
            guardrails_required: self.guardrails_required,
            max_parallel: self.max_parallel,
            mcp_servers: self.mcp_servers,
            stages: self.stages.into_iter().filter_map(|draft| draft.stage).collect(),
            source: PipelineSource::Repository,
        }
    }
}

fn read_stage(index: usize, value: &Value<'_>, report: &Report<'_>) -> Option<StageDraft> {
    let Some(object) = value.as_object() else {
        report.add(value.range(), format!("stage {} must be an object, not {}", index + 1, type_name(value)));
        return None;
    };
    let place = named("stage", index, object);
    let Some(kind) = read_kind(object, &place, report) else {
        // Nothing more can be judged, but others may refer to the stage.
        let id = object.get_string("id")?;
        let id = Spanned { value: StageId::new(id.value.as_ref()).ok()?, range: id.range };
        return Some(StageDraft::unread(id));
    };
    let fields = Fields::open(object, kind.keys(), &place, report, |key| explain_stranger(kind, key, &place));
    if fields.value("id").is_none() {
        report.add(open_brace(object), format!("{place} has no `id`"));
    }
    let work = read_work(kind, &fields, object, &place, report);
    let id = fields.stage_id("id")?;
    let inputs = read_inputs(&fields);
    let mut draft = StageDraft {
        needs: fields.stage_ids("needs"),
        inputs: inputs.values().cloned().collect(),
        nested: fields.pipeline_id("pipeline"),
        ..StageDraft::unread(id)
    };
    let Some(work) = work else { return Some(draft) };
    let mut stage = Stage {
        title: fields.text("title").unwrap_or_else(|| default_title(&fields, &draft.id.value)),
        cwd: fields.text("cwd"),
        env: texts_of(&fields, "env"),
        timeout: read_timeout(&fields, &place, report),
        retry: read_retry(&fields, &place, report),
        allow_failure: fields.boolean("allow_failure").unwrap_or(false),
        needs: match &draft.needs {
            None => Needs::PreviousStage,
            Some(needs) => Needs::Declared(needs.iter().map(|id| id.value.clone()).collect()),
        },
        when: match fields.text("when").as_deref() {
            Some("failure") => When::Failure,
            Some("always") => When::Always,
            _ => When::Success,
        },
        inputs: inputs.into_iter().map(|(name, input)| (name, input.value)).collect(),
        outputs: texts_of(&fields, "outputs"),
        summary_hint: fields.text("summary_hint"),
        role: match fields.text("role").as_deref() {
            Some("planner") => Role::Planner,
            Some("tester") => Role::Tester,
            Some("reviewer") => Role::Reviewer,
            _ => Role::Builder,
        },
        execution: read_execution(&fields),
        capabilities: fields.texts("capabilities").unwrap_or_default(),
        session: fields.session("session"),
        tty: fields.boolean("tty").unwrap_or(false),
        ..Stage::new(draft.id.value.clone(), work)
    };
    if matches!(stage.work, StageWork::Command(_) | StageWork::Mcp(_)) {
        stage.approval_required = fields.text("approval").as_deref() == Some("required");
        stage.confinement = read_confinement(&fields, &place, report);
    }
    stage.guardrail = fields.boolean("guardrail").unwrap_or_else(|| mentions_spec_guard(&stage));
    if let Some(plan) = fields.object("plan") {
        stage.aliases = plan.texts("aliases").unwrap_or_default();
        stage.default_target = plan.boolean("default_target").unwrap_or(false);
        stage.runnable = plan.boolean("runnable").unwrap_or(true);
        if stage.default_target && !stage.runnable {
            let range = fields.range("plan").unwrap_or_else(|| open_brace(object));
            report
                .add(range, format!("`plan` of {place} makes a default target of what no target may select"));
        }
    }
    if let (Some(session), Some(range)) = (&stage.session, fields.range("session"))
        && session.persist
        && !session.reuse
    {
        let id = &session.id;
        report.warn(
            range,
            format!("`session` of {place} stays and is not reused: a second run finds `{id}` taken"),
        );
    }
    draft.outputs = stage.outputs.keys().cloned().collect();
    draft.aliases.clone_from(&stage.aliases);
    draft.plan = fields.range("plan");
    draft.default_target = stage.default_target;
    draft.stage = Some(stage);
    Some(draft)
}

impl StageDraft {
    fn unread(id: Spanned<StageId>) -> Self {
        Self {
            id,
            needs: None,
            inputs: Vec::new(),
            outputs: Vec::new(),
            nested: None,
            aliases: Vec::new(),
            plan: None,
            default_target: false,
            stage: None,
        }
    }

    /// Whether the whole stage was understood, so that its outputs are known.
    pub(crate) fn is_read(&self) -> bool {
        self.stage.is_some()
    }
}

fn read_kind(object: &Object<'_>, place: &str, report: &Report<'_>) -> Option<Kind> {
    let Some(property) = object.get("kind") else {
        if object.get("command").is_some() {
            return Some(Kind::Command);
        }
        // A slip of the pen in the one key that decides is told as such.
        let slip = object.properties.iter().find_map(|property| {
            let written = property.name.as_str();
            let known = Kind::ALL.into_iter().any(|kind| kind.knows(&snake_case(written)));
            let meant = if known { None } else { closest(written, ["command", "kind"]) };
            meant.map(|meant| (property, meant))
        });
        if let Some((property, meant)) = slip {
            let message = format!("unknown key `{}` in {place}", shown(property.name.as_str()));
            report.add_with(name_range(property), message, || Some(format!("did you mean `{meant}`?")));
            return None;
        }
        report.add_with(open_brace(object), format!("{place} has neither `kind` nor `command`"), || {
            let tell = [("prompt", Kind::Agent), ("prompt_file", Kind::Agent), ("promptFile", Kind::Agent)];
            let tell = tell.into_iter().chain([("message", Kind::Gate), ("pipeline", Kind::Nested)]);
            let tell = tell.chain([("server", Kind::Mcp), ("tool", Kind::Mcp)]);
            let kind = tell.into_iter().find(|(key, _)| object.get(key).is_some())?.1;
            Some(format!("add \"kind\": \"{}\"", kind.name()))
        });
        return None;
    };
    let Some(written) = property.value.as_string_lit() else {
        let message = format!("`kind` of {place} must be a string, not {}", type_name(&property.value));
        report.add(property.value.range(), message);
        return None;
    };
    let kind = Kind::ALL.into_iter().find(|kind| kind.spellings().contains(&written.value.as_ref()));
    if kind.is_none() {
        report.add_with(
            written.range,
            format!("unknown kind `{}` of {place}", shown(&written.value)),
            || {
                did_you_mean(
                    &written.value,
                    Kind::ALL.into_iter().flat_map(|kind| kind.spellings().iter().copied()),
                )
            },
        );
    }
    kind
}

/// Words the problem of a key that stages of another kind have.
fn explain_stranger(kind: Kind, written: &str, place: &str) -> Option<(String, Option<String>)> {
    let name = snake_case(written);
    let owner = Kind::ALL.into_iter().find(|other| other.knows(&name))?;
    let message = format!("`{written}` has no meaning in {place}, a {} stage", kind.name());
    let suggestion =
        kind.refusal(&name).map_or_else(|| format!("it belongs to {} stages", owner.name()), str::to_owned);
    Some((message, Some(suggestion)))
}

fn read_work(
    kind: Kind,
    fields: &Fields<'_, '_>,
    object: &Object<'_>,
    place: &str,
    report: &Report<'_>,
) -> Option<StageWork> {
    let require = |key: &str| {
        if fields.value(key).is_none() {
            report.add(open_brace(object), format!("{place}, a {} stage, has no `{key}`", kind.name()));
        }
    };
    match kind {
        Kind::Command => {
            require("command");
            fields.command("command").map(StageWork::Command)
        }
        Kind::Agent => {
            let prompt = match (fields.value("prompt"), fields.range("prompt_file")) {
                (None, None) => {
                    report.add(
                        open_brace(object),
                        format!("{place}, an agent stage, has neither `prompt` nor `prompt_file`"),
                    );
                    None
                }
                (Some(_), Some(range)) => {
                    report.add(range, format!("{place} has both `prompt` and `prompt_file`; keep one"));
                    None
                }
                (Some(_), None) => fields.text("prompt").map(Prompt::Text),
                (None, Some(_)) => fields.text("prompt_file").map(Prompt::File),
            };
            Some(StageWork::Agent(AgentStage {
                agent: fields.text("agent").unwrap_or_else(|| crate::keys::AGENTS[0].to_owned()),
                prompt: prompt?,
                model: fields.text("model"),
                sandbox: fields.text("sandbox"),
                profile: fields.text("profile"),
                arguments: fields.texts("arguments").unwrap_or_default(),
                thread: None,
            }))
        }
        Kind::Gate => {
            require("message");
            Some(StageWork::Gate(GateStage {
                message: fields.text("message")?,
                expires_after: fields.duration("expires").unwrap_or(DEFAULT_GATE_EXPIRY),
            }))
        }
        Kind::Nested => {
            require("pipeline");
            Some(StageWork::Pipeline(NestedStage { pipeline: fields.pipeline_id("pipeline")?.value }))
        }
        Kind::Mcp => {
            require("server");
            require("tool");
            let arguments = match fields.value("arguments") {
                Some(value) => json(value)?,
                None => serde_json::Value::Object(serde_json::Map::new()),
            };
            Some(StageWork::Mcp(McpStage {
                server: fields.text("server")?,
                tool: fields.text("tool")?,
                arguments: canonical_json(&arguments),
            }))
        }
    }
}

fn texts_of(fields: &Fields<'_, '_>, name: &str) -> IndexMap<String, String> {
    fields.text_map(name).unwrap_or_default().into_iter().map(|(name, text)| (name, text.value)).collect()
}

fn read_inputs(fields: &Fields<'_, '_>) -> IndexMap<String, Spanned<OutputReference>> {
    let inputs = fields.text_map("inputs").unwrap_or_default().into_iter();
    inputs
        .filter_map(|(name, text)| {
            let (stage, output) = split_reference(&text.value)?;
            let value = OutputReference { stage, output: output.to_owned() };
            Some((name, Spanned { value, range: text.range }))
        })
        .collect()
}

fn default_title(fields: &Fields<'_, '_>, id: &StageId) -> String {
    if let (Some(server), Some(tool)) = (fields.text("server"), fields.text("tool")) {
        return format!("{server}/{tool}");
    }
    match fields.value("command").and(fields.command("command")) {
        Some(CommandLine::Shell(line)) => line,
        Some(CommandLine::Argv(argv)) => argv.join(" "),
        None => id.to_string(),
    }
}

fn mentions_spec_guard(stage: &Stage) -> bool {
    let in_command = match &stage.work {
        StageWork::Command(CommandLine::Shell(line)) => line.contains("spec-guard"),
        StageWork::Command(CommandLine::Argv(argv)) => argv.iter().any(|word| word.contains("spec-guard")),
        StageWork::Agent(_) | StageWork::Gate(_) | StageWork::Pipeline(_) | StageWork::Mcp(_) => false,
    };
    in_command || stage.id.as_str().contains("spec-guard") || stage.title.contains("spec-guard")
}

fn read_timeout(fields: &Fields<'_, '_>, place: &str, report: &Report<'_>) -> Option<Duration> {
    if let (Some(_), Some(range)) = (fields.value("timeout"), fields.range("timeout_ms")) {
        report.add(range, format!("{place} has both `timeout` and `timeout_ms`; keep one"));
    }
    fields.duration("timeout").or_else(|| fields.count("timeout_ms").map(Duration::from_millis))
}

fn read_retry(fields: &Fields<'_, '_>, place: &str, report: &Report<'_>) -> RetryPolicy {
    let Some(retry) = fields.object("retry") else { return RetryPolicy::NEVER };
    let range = fields.range("retry").unwrap_or(Range { start: 0, end: 0 });
    if retry.value("max_attempts").is_none() {
        report.add(range, format!("`retry` of {place} has no `max_attempts`"));
    }
    let on = match retry.object("on") {
        None => RetryPolicy::NEVER.on,
        Some(on) => match (on.exit_codes("exit_codes"), on.boolean("timed_out")) {
            (None, None) => {
                report.add(range, format!("`retry.on` of {place} names nothing to retry on"));
                RetryPolicy::NEVER.on
            }
            // Naming one kind of failure leaves the other out; refusing time-outs leaves the rest in.
            (None, Some(true)) => RetryOn { exit_codes: Some(Vec::new()), timed_out: true },
            (exit_codes, timed_out) => RetryOn { exit_codes, timed_out: timed_out.unwrap_or(false) },
        },
    };
    RetryPolicy {
        max_attempts: retry
            .count("max_attempts")
            .and_then(|count| NonZeroU32::new(u32::try_from(count).ok()?))
            .unwrap_or(NonZeroU32::MIN),
        backoff: retry.duration("backoff").unwrap_or(DEFAULT_BACKOFF),
        on,
    }
}

/// The seeds' mode policy: an explicit yes or no to the cloud wins over every later hint; the
/// stage's own keys come before those of its `plan`.
/// Reads the sandbox a command stage names; the network and the roots need one.
fn read_confinement(fields: &Fields<'_, '_>, place: &str, report: &Report<'_>) -> Option<Confinement> {
    let mode = match fields.text("sandbox").as_deref() {
        Some("read-only") => SandboxMode::ReadOnly,
        Some("workspace-write") => SandboxMode::WorkspaceWrite,
        Some("danger-full-access") => SandboxMode::DangerFullAccess,
        _ => {
            for key in ["network", "writable_roots"] {
                if let Some(range) = fields.range(key) {
                    report.add(range, format!("`{key}` of {place} needs a `sandbox` beside it"));
                }
            }
            return None;
        }
    };
    let network = match fields.text("network").as_deref() {
        Some("on") => Some(NetworkAccess::On),
        Some("off") => Some(NetworkAccess::Off),
        _ => None,
    };
    let writable_roots = fields.texts("writable_roots").unwrap_or_default();
    if let (Some(range), true) = (fields.range("writable_roots"), mode != SandboxMode::WorkspaceWrite) {
        report.add(range, format!("`writable_roots` of {place} counts in a `workspace-write` sandbox only"));
    }
    Some(Confinement { mode, network, writable_roots })
}

fn read_execution(fields: &Fields<'_, '_>) -> ExecutionMode {
    let plan = fields.object("plan");
    let cloud = fields
        .boolean("requires_cloud")
        .or_else(|| plan.as_ref().and_then(|plan| plan.boolean("requires_cloud")));
    let mode = || {
        fields.text("execution_mode").or_else(|| plan.as_ref().and_then(|plan| plan.text("execution_mode")))
    };
    match cloud {
        Some(true) => ExecutionMode::Cloud,
        Some(false) => ExecutionMode::Mcp,
        None => match mode().as_deref() {
            Some("cloud") => ExecutionMode::Cloud,
            Some("mcp") => ExecutionMode::Mcp,
            _ => ExecutionMode::Unset,
        },
    }
}
