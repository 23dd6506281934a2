//! The settings of one invocation, each with where it came from.
//!
//! Layers, later ones win: defaults, the user's file, environment variables, flags. Every layer
//! gives texts, which one parser per value reads, so that an error can name the place to mend.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use co_model::{Actor, DurationText, DurationTextError, IdError, TaskId};

use crate::environment::Environment;
use crate::problem::Problem;
use crate::user_file::{TaskWord, UserFile};

/// A value and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Where it came from.
    pub source: Source,
}

/// Says where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// The user's file.
    UserFile {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
    },
    /// An environment variable.
    Environment {
        /// Its name.
        name: &'static str,
    },
    /// A flag of the command line.
    Flag {
        /// Its name, with dashes.
        name: &'static str,
    },
    /// A file that was found in a folder above the working directory.
    Found {
        /// The file, relative to the folder.
        file: &'static str,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::UserFile { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment { name } | Self::Flag { name } => f.write_str(name),
            Self::Found { file } => write!(f, "the folder above with `{file}`"),
        }
    }
}

/// What the command line says; `None` where it says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--root`
    pub root: Option<OsString>,
    /// `--runs-dir`
    pub runs_dir: Option<OsString>,
    /// `--out-dir`
    pub out_dir: Option<OsString>,
    /// `--task`
    pub task: Option<OsString>,
    /// `--target`
    pub target: Option<OsString>,
    /// `--actor`
    pub actor: Option<OsString>,
}

/// The settings of one invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The repository, absolute. By default the nearest folder, from the working directory up to
    /// the top of its git repository, that has pipelines or recorded runs; else the working
    /// directory.
    pub root: Setting<PathBuf>,
    /// Where runs are recorded, absolute; `.runs` below the root by default.
    pub runs_dir: Setting<PathBuf>,
    /// Where summaries for people go, absolute; `out` below the root by default.
    pub out_dir: Setting<PathBuf>,
    /// The task that runs are filed under; `local` by default.
    pub task: Setting<TaskId>,
    /// The stage that a plan aims at.
    pub target: Setting<Option<String>>,
    /// How often an owner renews its claim on a run; 5 s by default.
    pub heartbeat_interval: Setting<Duration>,
    /// After how long without a renewal a run's owner counts as gone; 30 s by default.
    pub stale_after: Setting<Duration>,
    /// Whether a resume without the run's token is refused; no by default.
    pub require_resume_token: Setting<bool>,
    /// The Codex program, when it is not the one on `PATH`.
    pub codex: Setting<Option<PathBuf>>,
    /// Who is asking; `cli` by default.
    pub actor: Setting<Actor>,
    /// The MCP servers that runs may use when no flag names any; none by default.
    pub mcp_servers: Setting<Vec<String>>,
    /// The name of the session one works in; consents for a session hold where it is the same. The
    /// terminal's own session when nobody named one.
    pub session: Setting<Option<String>>,
    /// The mode of the privacy guard, as it was written; enforcing when nobody says otherwise.
    pub privacy_guard: Setting<Option<String>>,
    /// Names of variables, separated by commas, whose values must never be seen.
    pub secret_variables: Setting<Option<String>>,
    /// Patterns of what must never be seen, by name; from the user's file alone.
    pub secret_patterns: Vec<(String, String)>,
    /// What the person's file says for the task, on top of their Codex settings.
    pub task_policy: Vec<TaskWord>,
    /// The person's file, wherever it would be.
    pub file: PathBuf,
    /// Patterns of what may be seen although it looks like a secret, by name.
    pub allowed_patterns: Vec<(String, String)>,
}

/// One row of `config explain`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainedSetting {
    /// The setting's name.
    pub name: &'static str,
    /// Its value as text; `None` when it has none.
    pub value: Option<String>,
    /// Where it came from.
    pub source: Source,
}

/// Says which setting is not usable, and where it was made.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A text that is not a task id.
    #[error("invalid {origin} \"{}\"", .text.escape_debug())]
    Task {
        /// Where the value was set.
        origin: Source,
        /// The refused text.
        text: String,
        /// What is wrong with it.
        #[source]
        source: IdError,
    },
    /// A text that is not a duration.
    #[error("invalid {origin} \"{}\" for `{setting}`", .text.escape_debug())]
    Duration {
        /// Which setting.
        setting: &'static str,
        /// Where the value was set.
        origin: Source,
        /// The refused text.
        text: String,
        /// What is wrong with it.
        #[source]
        source: DurationTextError,
    },
    /// A duration that is too short or too long.
    #[error("invalid {origin} \"{}\" for `{setting}`: it must be {wanted}", .text.escape_debug())]
    DurationRange {
        /// Which setting.
        setting: &'static str,
        /// Where the value was set.
        origin: Source,
        /// The refused text.
        text: String,
        /// What it must be.
        wanted: &'static str,
    },
    /// An owner would count as gone between two of its own renewals.
    #[error(
        "`stale_after` ({}, from {stale_origin}) must be at least twice `heartbeat_interval` ({}, from {heartbeat_origin})",
        DurationText(*.stale_after), DurationText(*.heartbeat_interval)
    )]
    StaleBeforeHeartbeat {
        /// The time after which an owner is gone.
        stale_after: Duration,
        /// Where it was set.
        stale_origin: Source,
        /// The time between two renewals.
        heartbeat_interval: Duration,
        /// Where it was set.
        heartbeat_origin: Source,
    },
    /// A text that is neither yes nor no.
    #[error("invalid {origin} \"{}\" for `{setting}`: write `true` or `false`", .text.escape_debug())]
    Truth {
        /// Which setting.
        setting: &'static str,
        /// Where the value was set.
        origin: Source,
        /// The refused text.
        text: String,
    },
    /// A value that is not valid Unicode where text is needed.
    #[error("invalid {origin} for `{setting}`: it is not valid Unicode")]
    NotUnicode {
        /// Which setting.
        setting: &'static str,
        /// Where the value was set.
        origin: Source,
    },
    /// A flag that was given without a value.
    #[error("{origin} is empty")]
    Empty {
        /// Where the value was set.
        origin: Source,
    },
    /// No root is named, and there is no working directory to take.
    #[error("the working directory does not exist any more; name a repository with `--root`")]
    NoWorkingDirectory,
    /// The root is not a directory that can be entered.
    #[error("root `{}` (from {origin}) is not a directory", .path.display())]
    RootNotADirectory {
        /// The folder.
        path: PathBuf,
        /// Where it was set.
        origin: Source,
    },
    /// The user's file is there but could not be read.
    #[error("failed to read the user's file `{}`", .path.display())]
    ReadUserFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The user's file is larger than any real one.
    #[error("the user's file `{}` is larger than {bytes} bytes", .path.display())]
    LongUserFile {
        /// The file.
        path: PathBuf,
        /// The bound.
        bytes: u64,
    },
    /// The user's file says something that cannot be.
    #[error("{}", crate::problem::describe("the user's file", .problems, *.omitted))]
    InvalidUserFile {
        /// What is wrong, in the order of the file; at most 20.
        problems: Vec<Problem>,
        /// How many more there were.
        omitted: usize,
    },
}

/// Where a setting can be made.
struct Places {
    setting: &'static str,
    flag: Option<&'static str>,
    variable: &'static str,
}

const ROOT: Places = Places { setting: "root", flag: Some("--root"), variable: "CODEX_ORCHESTRATOR_ROOT" };
const RUNS_DIR: Places =
    Places { setting: "runs_dir", flag: Some("--runs-dir"), variable: "CODEX_ORCHESTRATOR_RUNS_DIR" };
const OUT_DIR: Places =
    Places { setting: "out_dir", flag: Some("--out-dir"), variable: "CODEX_ORCHESTRATOR_OUT_DIR" };
const TASK: Places = Places { setting: "task", flag: Some("--task"), variable: "MCP_RUNNER_TASK_ID" };
const TARGET: Places =
    Places { setting: "target", flag: Some("--target"), variable: "CODEX_ORCHESTRATOR_TARGET_STAGE" };
const HEARTBEAT_INTERVAL: Places =
    Places { setting: "heartbeat_interval", flag: None, variable: "CODEX_ORCHESTRATOR_HEARTBEAT_INTERVAL" };
const STALE_AFTER: Places =
    Places { setting: "stale_after", flag: None, variable: "CODEX_ORCHESTRATOR_STALE_AFTER" };
const REQUIRE_RESUME_TOKEN: Places = Places {
    setting: "require_resume_token",
    flag: None,
    variable: "CODEX_ORCHESTRATOR_REQUIRE_RESUME_TOKEN",
};
const CODEX: Places = Places { setting: "codex", flag: None, variable: "CODEX_ORCHESTRATOR_CODEX" };
const MCP_SERVERS: Places =
    Places { setting: "mcp_servers", flag: None, variable: "CODEX_ORCHESTRATOR_MCP_SERVERS" };
const ACTOR: Places =
    Places { setting: "actor", flag: Some("--actor"), variable: "CODEX_ORCHESTRATOR_ACTOR" };
const SESSION: Places = Places { setting: "session", flag: None, variable: "CODEX_ORCHESTRATOR_SESSION" };
const PRIVACY_GUARD: Places =
    Places { setting: "privacy_guard", flag: None, variable: "CODEX_PRIVACY_GUARD_MODE" };
const SECRET_VARIABLES: Places =
    Places { setting: "secret_variables", flag: None, variable: "CODEX_ORCHESTRATOR_SECRET_VARIABLES" };

impl Settings {
    /// Resolves every setting from its layers.
    ///
    /// Paths are made absolute: the root from the working directory, the others from the root.
    ///
    /// # Errors
    /// [`SettingsError`] names the flag, the variable or the line that holds a bad value.
    pub fn resolve(flags: &Flags, environment: &Environment) -> Result<Self, SettingsError> {
        let file = UserFile::load(environment)?;
        let layers = Layers { environment, file: &file };
        let root = resolve_root(&layers, flags.root.as_deref())?;
        let below = |places, flag: Option<&OsStr>, default: &str| {
            let found = layers.find(places, flag)?;
            Ok(found.map_or_else(
                || Setting { value: root.value.join(default), source: Source::Default },
                |(text, source)| Setting { value: root.value.join(text), source },
            ))
        };
        let heartbeat_interval = layers.duration(&HEARTBEAT_INTERVAL, Duration::from_secs(5))?;
        let stale_after = layers.duration(&STALE_AFTER, Duration::from_secs(30))?;
        if stale_after.value < heartbeat_interval.value.saturating_mul(2) {
            return Err(SettingsError::StaleBeforeHeartbeat {
                stale_after: stale_after.value,
                stale_origin: stale_after.source,
                heartbeat_interval: heartbeat_interval.value,
                heartbeat_origin: heartbeat_interval.source,
            });
        }
        let task = resolve_task(&layers, flags.task.as_deref())?;
        Ok(Self {
            task_policy: file.of_task(task.value.as_str()),
            file: file.path.clone(),
            runs_dir: below(&RUNS_DIR, flags.runs_dir.as_deref(), ".runs")?,
            out_dir: below(&OUT_DIR, flags.out_dir.as_deref(), "out")?,
            task,
            target: optional(layers.text(&TARGET, flags.target.as_deref())?),
            heartbeat_interval,
            stale_after,
            require_resume_token: layers.truth(&REQUIRE_RESUME_TOKEN)?,
            codex: resolve_codex(&layers, &root.value)?,
            actor: resolve_actor(&layers, flags.actor.as_deref())?,
            mcp_servers: names(layers.text(&MCP_SERVERS, None)?),
            session: optional(layers.text(&SESSION, None)?),
            privacy_guard: optional(layers.text(&PRIVACY_GUARD, None)?),
            secret_variables: optional(layers.text(&SECRET_VARIABLES, None)?),
            secret_patterns: file.table("secret_patterns"),
            allowed_patterns: file.table("allowed_patterns"),
            root,
        })
    }

    /// Lists every setting with its value and where it came from.
    pub fn explain(&self) -> Vec<ExplainedSetting> {
        fn row<T>(
            name: &'static str,
            setting: &Setting<T>,
            show: impl Fn(&T) -> Option<String>,
        ) -> ExplainedSetting {
            ExplainedSetting { name, value: show(&setting.value), source: setting.source.clone() }
        }
        let path = |path: &PathBuf| Some(path.display().to_string());
        let duration = |duration: &Duration| Some(DurationText(*duration).to_string());
        vec![
            row("root", &self.root, path),
            row("runs_dir", &self.runs_dir, path),
            row("out_dir", &self.out_dir, path),
            row("task", &self.task, |task| Some(task.to_string())),
            row("target", &self.target, Clone::clone),
            row("heartbeat_interval", &self.heartbeat_interval, duration),
            row("stale_after", &self.stale_after, duration),
            row("require_resume_token", &self.require_resume_token, |truth| Some(truth.to_string())),
            row("codex", &self.codex, |codex| codex.as_ref().map_or(Some("codex".to_owned()), path)),
            row("actor", &self.actor, |actor| Some(actor.to_string())),
            row("mcp_servers", &self.mcp_servers, |names| (!names.is_empty()).then(|| names.join(", "))),
            row("session", &self.session, Clone::clone),
            row("privacy_guard", &self.privacy_guard, Clone::clone),
            row("secret_variables", &self.secret_variables, Clone::clone),
        ]
    }
}

/// The layers above the defaults.
struct Layers<'l> {
    environment: &'l Environment,
    file: &'l UserFile,
}

impl Layers<'_> {
    /// The value of the highest layer that has one.
    ///
    /// An empty variable counts as unset, since that is how shells and CI files switch one off;
    /// an empty flag is a mistake, usually an unset variable in quotes.
    fn find(
        &self,
        places: &Places,
        flag: Option<&OsStr>,
    ) -> Result<Option<(OsString, Source)>, SettingsError> {
        if let (Some(value), Some(name)) = (flag, places.flag) {
            let origin = Source::Flag { name };
            if value.is_empty() {
                return Err(SettingsError::Empty { origin });
            }
            return Ok(Some((value.to_owned(), origin)));
        }
        if let Some(value) = self.environment.get(places.variable) {
            return Ok(Some((value.to_owned(), Source::Environment { name: places.variable })));
        }
        Ok(self.file.get(places.setting).map(|value| {
            let source = Source::UserFile { path: self.file.path.clone(), line: value.line };
            (OsString::from(&value.text), source)
        }))
    }

    fn text(&self, places: &Places, flag: Option<&OsStr>) -> Result<Option<(String, Source)>, SettingsError> {
        let Some((value, origin)) = self.find(places, flag)? else { return Ok(None) };
        match value.into_string() {
            Ok(text) => Ok(Some((text, origin))),
            Err(_) => Err(SettingsError::NotUnicode { setting: places.setting, origin }),
        }
    }

    fn duration(&self, places: &Places, default: Duration) -> Result<Setting<Duration>, SettingsError> {
        let Some((text, source)) = self.text(places, None)? else {
            return Ok(Setting { value: default, source: Source::Default });
        };
        let setting = places.setting;
        match text.parse::<DurationText>() {
            Err(error) => Err(SettingsError::Duration { setting, origin: source, text, source: error }),
            // Quicker renewals than this would keep the disk awake for nothing.
            Ok(DurationText(value)) if value < Duration::from_millis(100) => {
                Err(SettingsError::DurationRange { setting, origin: source, text, wanted: "at least 100ms" })
            }
            Ok(DurationText(value)) => Ok(Setting { value, source }),
        }
    }

    fn truth(&self, places: &Places) -> Result<Setting<bool>, SettingsError> {
        let Some((text, source)) = self.text(places, None)? else {
            return Ok(Setting { value: false, source: Source::Default });
        };
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(Setting { value: true, source }),
            "false" | "0" | "no" | "off" => Ok(Setting { value: false, source }),
            _ => Err(SettingsError::Truth { setting: places.setting, origin: source, text }),
        }
    }
}

fn optional(found: Option<(String, Source)>) -> Setting<Option<String>> {
    match found {
        Some((text, source)) => Setting { value: Some(text), source },
        None => Setting { value: None, source: Source::Default },
    }
}

/// Names, separated by commas.
fn names(found: Option<(String, Source)>) -> Setting<Vec<String>> {
    let Some((text, source)) = found else {
        return Setting { value: Vec::new(), source: Source::Default };
    };
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    Setting { value: names.map(str::to_owned).collect(), source }
}

fn resolve_root(layers: &Layers<'_>, flag: Option<&OsStr>) -> Result<Setting<PathBuf>, SettingsError> {
    let current = layers.environment.current_directory();
    let (path, source) = match layers.find(&ROOT, flag)? {
        None => discover_root(current.ok_or(SettingsError::NoWorkingDirectory)?),
        Some((text, source)) => {
            let path = PathBuf::from(text);
            match current {
                Some(current) => (current.join(path), source),
                None if path.is_absolute() => (path, source),
                None => return Err(SettingsError::NoWorkingDirectory),
            }
        }
    };
    // `a/.` and `a//b` name the same folder; `..` stays, since a link may stand before it.
    let path: PathBuf = path.components().collect();
    if path.is_dir() {
        Ok(Setting { value: path, source })
    } else {
        Err(SettingsError::RootNotADirectory { path, origin: source })
    }
}

/// What makes a folder the one that is meant.
const ROOT_MARKS: [&str; 2] = [crate::PIPELINE_FILE, ".runs/orchestrator.db"];

/// Goes up from the working directory as git does, so that `status` works where one stands. Outside
/// of a git repository nothing says where to stop, so nothing above is looked at.
fn discover_root(current: &Path) -> (PathBuf, Source) {
    let top = current.ancestors().position(|folder| folder.join(".git").exists()).unwrap_or(0);
    for (above, folder) in current.ancestors().take(top + 1).enumerate() {
        if let Some(file) = ROOT_MARKS.into_iter().find(|mark| folder.join(mark).is_file()) {
            let source = if above == 0 { Source::Default } else { Source::Found { file } };
            return (folder.to_owned(), source);
        }
    }
    (current.to_owned(), Source::Default)
}

fn resolve_task(layers: &Layers<'_>, flag: Option<&OsStr>) -> Result<Setting<TaskId>, SettingsError> {
    let (text, origin) = layers.text(&TASK, flag)?.unwrap_or_else(|| ("local".to_owned(), Source::Default));
    match TaskId::new(text.as_str()) {
        Ok(value) => Ok(Setting { value, source: origin }),
        Err(source) => Err(SettingsError::Task { origin, text, source }),
    }
}

/// A name alone is looked up on `PATH` by whoever starts it; a path is taken from the root.
fn resolve_codex(layers: &Layers<'_>, root: &Path) -> Result<Setting<Option<PathBuf>>, SettingsError> {
    let Some((text, source)) = layers.find(&CODEX, None)? else {
        return Ok(Setting { value: None, source: Source::Default });
    };
    let path = PathBuf::from(text);
    let is_name = path.components().count() == 1;
    Ok(Setting { value: Some(if is_name { path } else { root.join(path) }), source })
}

/// The login name is the weakest source: a variable that nobody set for this program.
fn resolve_actor(layers: &Layers<'_>, flag: Option<&OsStr>) -> Result<Setting<Actor>, SettingsError> {
    if let Some((text, source)) = layers.text(&ACTOR, flag)? {
        return Ok(Setting { value: Actor::new(&text), source });
    }
    Ok(match layers.environment.get("USER") {
        Some(user) => Setting {
            value: Actor::new(&user.to_string_lossy()),
            source: Source::Environment { name: "USER" },
        },
        None => Setting { value: Actor::new("cli"), source: Source::Default },
    })
}
