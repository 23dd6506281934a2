//! The keys of a pipeline file: one table that the reader checks against and the JSON Schema is
//! generated from, so that the two cannot drift apart.
//!
//! Every key may also be written in camelCase, as the seeds' files do.

/// A key of an object in the file.
pub(crate) struct Key {
    /// The name in snake_case.
    pub(crate) name: &'static str,
    /// Other names with the same meaning.
    pub(crate) also: &'static [&'static str],
    /// Which values it takes.
    pub(crate) shape: Shape,
    /// What it says, for editors.
    pub(crate) doc: &'static str,
}

/// Which values a key takes.
#[derive(Clone, Copy)]
pub(crate) enum Shape {
    /// A text that says something.
    Text,
    /// Any text, also none.
    FreeText,
    /// `true` or `false`.
    Boolean,
    /// A whole number within bounds.
    Count {
        least: u64,
        most: u64,
    },
    /// `"1.5s"`.
    Duration {
        zero: bool,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// One of [`AGENTS`], or `acp:` and a command line.
    Agent,
    /// A list of texts.
    Texts,
    PipelineId,
    StageId,
    /// A list of different stage ids.
    StageIds,
    /// A shell line, or a program with its arguments.
    Command,
    /// Variables by name.
    Environment,
    /// Paths by name, each within the working directory.
    Outputs,
    /// `stage.output` by name.
    Inputs,
    /// Exit codes of a failure.
    ExitCodes,
    /// A path within the repository.
    InnerPath,
    /// The name of a live session.
    SessionId,
    /// A live session: its name, or an object.
    Session,
    /// An object with these keys.
    Object(&'static [Key]),
    /// An object of anything, handed on as it is.
    Arguments,
    /// The stages of a pipeline.
    Stages,
    /// The pipelines of the file.
    Pipelines,
}

/// Longest time that can be asked for: 366 days, the bound of duration texts.
const LONGEST_MILLIS: u64 = 366 * 24 * 3600 * 1000;

/// Agents that a stage can name, the usual one first.
pub(crate) const AGENTS: &[&str] = &["codex", "codex-app-server", "claude"];
/// What stands before the command line of an agent that speaks the Agent Client Protocol.
pub(crate) const ACP: &str = "acp:";

const fn key(name: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key { name, also: &[], shape, doc }
}

pub(crate) const FILE_KEYS: &[Key] = &[
    key("$schema", Shape::FreeText, "Where editors find the JSON Schema of this file."),
    key(
        "default_pipeline",
        Shape::PipelineId,
        "The pipeline `start` takes when none is named; else `diagnostics`.",
    ),
    key("pipelines", Shape::Pipelines, "The pipelines of this repository."),
];

pub(crate) const PIPELINE_KEYS: &[Key] = &[
    key("id", Shape::PipelineId, "The name `start` is given; unique in the file."),
    key("title", Shape::Text, "Shown to people; the id when left out."),
    key("description", Shape::FreeText, "What the pipeline is for."),
    key("tags", Shape::Texts, "Free labels."),
    key(
        "guardrails_required",
        Shape::Boolean,
        "Whether a run without a succeeding guardrail stage is judged failed; false when left out.",
    ),
    key(
        "max_parallel",
        Shape::Count { least: 1, most: 256 },
        "How many stages may run at the same time; 1 when left out.",
    ),
    key(
        "mcp_servers",
        Shape::Texts,
        "MCP servers of the person's Codex settings that the stages and agents of a run may use; none when left out.",
    ),
    key("stages", Shape::Stages, "The steps, in order of appearance; at least one."),
];

/// The kinds of stages, as files spell them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Command,
    Agent,
    Gate,
    Nested,
    Mcp,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [Self::Command, Self::Agent, Self::Gate, Self::Nested, Self::Mcp];

    /// The spelling that is shown.
    pub(crate) const fn name(self) -> &'static str {
        self.spellings()[0]
    }

    /// Every spelling that is read; `subpipeline` is the seeds'.
    pub(crate) const fn spellings(self) -> &'static [&'static str] {
        match self {
            Self::Command => &["command"],
            Self::Agent => &["agent"],
            Self::Gate => &["gate"],
            Self::Nested => &["pipeline", "subpipeline"],
            Self::Mcp => &["mcp"],
        }
    }

    /// The keys of a stage of this kind, in groups.
    pub(crate) const fn keys(self) -> &'static [&'static [Key]] {
        match self {
            Self::Command => &[STAGE_KEYS, COMMAND_KEYS, CONSENT_KEYS, PROCESS_KEYS, PLACE_KEYS],
            Self::Agent => &[STAGE_KEYS, AGENT_KEYS, PROCESS_KEYS, PLACE_KEYS],
            Self::Mcp => &[STAGE_KEYS, MCP_KEYS, CONSENT_KEYS, PROCESS_KEYS],
            Self::Gate => &[STAGE_KEYS, GATE_KEYS, ALLOW_FAILURE],
            Self::Nested => &[STAGE_KEYS, NESTED_KEYS],
        }
    }

    /// Whether stages of this kind have a key, by its name in snake_case.
    pub(crate) fn knows(self, name: &str) -> bool {
        self.keys().iter().copied().flatten().any(|key| key.name == name || key.also.contains(&name))
    }

    /// Says why a key of other kinds has no meaning in this one, where that is not plain.
    pub(crate) fn refusal(self, key: &str) -> Option<&'static str> {
        match (self, key) {
            (Self::Gate, "retry") => Some("a person's answer is final; ask again with a second gate"),
            (Self::Gate, "timeout" | "timeout_ms") => Some("a gate closes after `expires`"),
            (Self::Nested, "retry") => {
                Some("a child run is resumed, not repeated; put `retry` on the stages of the nested pipeline")
            }
            (Self::Nested, "timeout" | "timeout_ms" | "cwd" | "env") => {
                Some("set it on the stages of the nested pipeline")
            }
            (Self::Mcp, "env") => {
                Some("a server's variables are part of its definition in your Codex settings")
            }
            (Self::Mcp, "cwd") => Some("a server runs where its definition says, else in the repository"),
            _ => None,
        }
    }
}

/// Keys that every stage takes.
const STAGE_KEYS: &[Key] = &[
    key("kind", Shape::FreeText, "What the stage does; `command` when left out and `command` is given."),
    key("id", Shape::StageId, "Unique in its pipeline; the identity that a resume goes by."),
    key("title", Shape::Text, "Shown to people; the command or the id when left out."),
    key(
        "needs",
        Shape::StageIds,
        "Stages that must be over before this one; the stage before it when left out, none when empty.",
    ),
    key(
        "when",
        Shape::Choice(&["success", "failure", "always"]),
        "On which outcome of the stages before it the stage runs; `success` when left out.",
    ),
    key(
        "role",
        Shape::Choice(&["planner", "builder", "tester", "reviewer"]),
        "The part the stage plays in the run; `builder` when left out.",
    ),
    key("summary_hint", Shape::FreeText, "Summary shown instead of the one taken from the output."),
    key(
        "guardrail",
        Shape::Boolean,
        "Whether the result counts as guardrail evidence; when left out, whether id, title or command contain `spec-guard`.",
    ),
    key(
        "requires_cloud",
        Shape::Boolean,
        "Whether the stage must run on a cloud executor; false keeps it on this machine.",
    ),
    Key {
        name: "execution_mode",
        also: &["mode"],
        shape: Shape::Choice(&["mcp", "cloud"]),
        doc: "Where the stage runs when `requires_cloud` says nothing.",
    },
    key("capabilities", Shape::Texts, "Free labels of what the stage needs from its executor."),
    key("plan", Shape::Object(PLAN_KEYS), "How the stage is selected."),
];

const PLAN_KEYS: &[Key] = &[
    key("aliases", Shape::Texts, "Other names that `--target` accepts."),
    Key {
        name: "default_target",
        also: &["default", "primary"],
        shape: Shape::Boolean,
        doc: "Whether the stage is the target when none is named.",
    },
    key("runnable", Shape::Boolean, "Whether a target may select the stage; true when left out."),
    key("requires_cloud", Shape::Boolean, "As `requires_cloud` of the stage, which wins."),
    Key {
        name: "execution_mode",
        also: &["mode"],
        shape: Shape::Choice(&["mcp", "cloud"]),
        doc: "As `execution_mode` of the stage, which wins.",
    },
];

/// The object that `session` may be; a text alone is its `id`.
pub(crate) const SESSION_KEYS: &[Key] = &[
    key("id", Shape::SessionId, "Its name, within the run unless it persists; `default` when left out."),
    key(
        "reuse",
        Shape::Boolean,
        "Whether a session of that name that is there already is used; true when left out, else the stage is refused.",
    ),
    key("persist", Shape::Boolean, "Whether the session outlives the run; false when left out."),
];

const ALLOW_FAILURE: &[Key] = &[key(
    "allow_failure",
    Shape::Boolean,
    "Whether the run goes on, and may succeed, when the stage fails.",
)];

const NESTED_KEYS: &[Key] = &[
    key("pipeline", Shape::PipelineId, "The pipeline to run as a child run."),
    Key {
        name: "allow_failure",
        also: &["optional"],
        shape: Shape::Boolean,
        doc: "Whether the run goes on, and may succeed, when the child run fails.",
    },
];

const COMMAND_KEYS: &[Key] = &[
    key("command", Shape::Command, "A line for `/bin/sh -c`, or a program with its arguments."),
    key(
        "session",
        Shape::Session,
        "The live shell that the command runs in, by name: what one stage sets is there for the next that names it.",
    ),
    key("tty", Shape::Boolean, "Whether the command runs on a terminal; false when left out."),
];

const MCP_KEYS: &[Key] = &[
    key("server", Shape::Text, "The MCP server, by its name in the person's Codex settings."),
    key("tool", Shape::Text, "The tool of the server that is called."),
    key("arguments", Shape::Arguments, "What the tool is given; `{}` when left out."),
];

/// Keys of stages whose process is weighed and confined by us.
const CONSENT_KEYS: &[Key] = &[
    key(
        "approval",
        Shape::Choice(&["required", "not-required"]),
        "Whether a person must agree before it runs; `not-required` when left out.",
    ),
    key(
        "sandbox",
        Shape::Choice(&["read-only", "workspace-write", "danger-full-access"]),
        "Sandbox of the command; that of the person's own settings when left out. An MCP server has none then.",
    ),
    key("network", Shape::Choice(&["off", "on"]), "Network of the sandboxed command; `off` when left out."),
    key(
        "writable_roots",
        Shape::Texts,
        "Folders a workspace-write sandbox opens besides, absolute or relative to the repository.",
    ),
];

const AGENT_KEYS: &[Key] = &[
    key(
        "agent",
        Shape::Agent,
        "Which agent: `codex`, `codex-app-server`, `claude`, or `acp:` and a command line; `codex` when left out.",
    ),
    key("prompt", Shape::Text, "What the agent is asked: a template with `task`, `run` and `stages`."),
    key("prompt_file", Shape::InnerPath, "A file with the prompt template, relative to the repository."),
    key("model", Shape::Text, "Model name passed to the agent."),
    key(
        "sandbox",
        Shape::Choice(&["read-only", "workspace-write", "danger-full-access"]),
        "Sandbox mode passed to the agent.",
    ),
    key("profile", Shape::Text, "Configuration profile passed to the agent."),
    key("arguments", Shape::Texts, "Further arguments for the agent, passed as they are."),
];

const GATE_KEYS: &[Key] = &[
    key("message", Shape::Text, "The question as it is shown."),
    key(
        "expires",
        Shape::Duration { zero: false },
        "How long the question stays open; unanswered means no. `24h` when left out.",
    ),
];

/// Keys of stages that start a process.
const PROCESS_KEYS: &[Key] = &[
    key("allow_failure", Shape::Boolean, "Whether the run goes on, and may succeed, when the stage fails."),
    key(
        "timeout",
        Shape::Duration { zero: false },
        "Longest time one attempt may take, as in `1.5s` or `10m`.",
    ),
    key(
        "timeout_ms",
        Shape::Count { least: 1, most: LONGEST_MILLIS },
        "Longest time one attempt may take, in milliseconds.",
    ),
    key("retry", Shape::Object(RETRY_KEYS), "When and how often a failed attempt is tried again."),
    key("outputs", Shape::Outputs, "Files the stage promises, by name: paths below its working directory."),
];

/// Keys of stages whose process is a program of the pipeline's own choice.
const PLACE_KEYS: &[Key] = &[
    key("cwd", Shape::Text, "Working directory, absolute or relative to the repository."),
    key("env", Shape::Environment, "Variables added to the environment."),
    key("inputs", Shape::Inputs, "Outputs of earlier stages by local name, as `stage.output`."),
];

const RETRY_KEYS: &[Key] = &[
    key("max_attempts", Shape::Count { least: 1, most: 100 }, "Attempts in all."),
    key(
        "backoff",
        Shape::Duration { zero: true },
        "Wait before the second attempt, doubled for each further one; `1s` when left out.",
    ),
    key(
        "on",
        Shape::Object(RETRY_ON_KEYS),
        "Which failures are worth another attempt; every failing exit code and time-outs when left out.",
    ),
];

const RETRY_ON_KEYS: &[Key] = &[
    key("exit_codes", Shape::ExitCodes, "Only these exit codes."),
    key(
        "timed_out",
        Shape::Boolean,
        "Whether a time-out is tried again. Alone: `true` means time-outs only, `false` means every failing exit code.",
    ),
];

/// Names that a key goes by in files, the shown one first.
pub(crate) fn spellings(key: &Key) -> impl Iterator<Item = String> {
    let names = std::iter::once(key.name).chain(key.also.iter().copied());
    names.flat_map(|name| {
        let camel = camel_case(name);
        std::iter::once(name.to_owned()).chain((camel != name).then_some(camel))
    })
}

/// `allowFailure` → `allow_failure`; other texts stay as they are.
pub(crate) fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_reads_in_both_spellings() {
        let groups = Kind::ALL.into_iter().flat_map(|kind| kind.keys().iter().copied());
        for keys in groups.chain([FILE_KEYS, PIPELINE_KEYS, PLAN_KEYS, RETRY_KEYS, RETRY_ON_KEYS]) {
            for key in keys {
                for spelling in spellings(key) {
                    let read = snake_case(&spelling);
                    assert!(read == key.name || key.also.contains(&read.as_str()), "{spelling}");
                }
            }
        }
        assert_eq!(camel_case("timeout_ms"), "timeoutMs");
    }
}
