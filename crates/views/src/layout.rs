//! Where the files of a run are, and how views name them.

use std::path::{Path, PathBuf};

use co_model::{RunId, StageId, TaskId};

/// Longest slug in characters; leaves room for number, attempt and suffix in a file name.
const LONGEST_SLUG: usize = 40;

/// The folders everything is kept in; all absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The repository's root.
    pub root: PathBuf,
    /// Manifests, logs and the event log: `.runs` unless moved.
    pub runs_dir: PathBuf,
    /// What is made for people: `out` unless moved.
    pub out_dir: PathBuf,
}

impl Layout {
    /// The name of a task's history in its folder below [`Layout::out_dir`].
    pub const STATE_FILE: &'static str = "state.json";

    /// The folder of one run: `.runs/<task>/cli/<run>`.
    pub fn run_dir(&self, task: &TaskId, run: &RunId) -> PathBuf {
        self.runs_dir.join(task.as_str()).join("cli").join(run.as_str())
    }

    /// The run's manifest.
    pub fn manifest_path(&self, task: &TaskId, run: &RunId) -> PathBuf {
        self.run_dir(task, run).join("manifest.json")
    }

    /// The file that is touched while the run's owner is alive.
    pub fn heartbeat_path(&self, task: &TaskId, run: &RunId) -> PathBuf {
        self.run_dir(task, run).join(".heartbeat")
    }

    /// The file that holds the resume token; readable by its owner only.
    pub fn resume_token_path(&self, task: &TaskId, run: &RunId) -> PathBuf {
        self.run_dir(task, run).join(".resume-token")
    }

    /// The folder of the run's output logs.
    pub fn logs_dir(&self, task: &TaskId, run: &RunId) -> PathBuf {
        self.run_dir(task, run).join("logs")
    }

    /// The output of one attempt: `logs/<stem>.log`, from the second attempt on
    /// `logs/<stem>.<attempt>.log`. The stem follows from the stage's id alone, so that an edit of
    /// the pipeline moves no log.
    pub fn attempt_log(&self, task: &TaskId, run: &RunId, stage: &StageId, attempt: u32) -> PathBuf {
        self.logs_dir(task, run).join(format!("{}.log", attempt_stem(stage, attempt)))
    }

    /// The index of one attempt's output, beside its log.
    pub fn attempt_index(&self, task: &TaskId, run: &RunId, stage: &StageId, attempt: u32) -> PathBuf {
        self.logs_dir(task, run).join(format!("{}.index.jsonl", attempt_stem(stage, attempt)))
    }

    /// What is recorded about a failed stage: `errors/<stem>.json`.
    pub fn error_path(&self, task: &TaskId, run: &RunId, stage: &StageId) -> PathBuf {
        self.run_dir(task, run).join("errors").join(format!("{}.json", stage_stem(stage)))
    }

    /// The run's summary, beside its manifest.
    pub fn run_summary_path(&self, task: &TaskId, run: &RunId) -> PathBuf {
        self.run_dir(task, run).join("run-summary.json")
    }

    /// The run's events as JSON Lines.
    pub fn events_path(&self, task: &TaskId, run: &RunId) -> PathBuf {
        self.run_dir(task, run).join("events.jsonl")
    }

    /// The task manager's copy of the run's summary: `.runs/<task>/<run>/manifest.json`.
    pub fn task_manifest_path(&self, task: &TaskId, run: &RunId) -> PathBuf {
        self.runs_dir.join(task.as_str()).join(run.as_str()).join("manifest.json")
    }

    /// The task's aggregated metrics.
    pub fn metrics_path(&self, task: &TaskId) -> PathBuf {
        self.runs_dir.join(task.as_str()).join("metrics.json")
    }

    /// The task's history for people.
    pub fn state_path(&self, task: &TaskId) -> PathBuf {
        self.out_dir.join(task.as_str()).join(Self::STATE_FILE)
    }

    /// The event log.
    pub fn database(&self) -> PathBuf {
        self.runs_dir.join("orchestrator.db")
    }

    /// The path as views show it: relative to the root when inside it, else as it is.
    pub fn show(&self, path: &Path) -> String {
        match path.strip_prefix(&self.root) {
            Ok(inside) if inside.as_os_str().is_empty() => ".".to_owned(),
            Ok(inside) => inside.to_string_lossy().into_owned(),
            Err(_) => path.to_string_lossy().into_owned(),
        }
    }
}

/// A file name for a stage: its [`slug`], with a hash of the id where the slug alone does not
/// tell the stage from others.
fn stage_stem(stage: &StageId) -> String {
    let slug = slug(stage);
    if slug == stage.as_str() { slug } else { format!("{slug}-{:08x}", fnv1a(stage.as_str())) }
}

fn attempt_stem(stage: &StageId, attempt: u32) -> String {
    let stem = stage_stem(stage);
    if attempt > 1 { format!("{stem}.{attempt}") } else { stem }
}

/// The 32-bit FNV-1a hash (RFC 9923): file names that must never change need a hash that never does.
fn fnv1a(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// The stage's id in the letters every file system keeps apart: lower-case ASCII letters, digits
/// and dashes, at most 40. Not unique.
pub fn slug(stage: &StageId) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    stage.as_str().chars().take(LONGEST_SLUG).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        Layout { root: "/repo".into(), runs_dir: "/repo/.runs".into(), out_dir: "/elsewhere/out".into() }
    }

    fn ids() -> (TaskId, RunId, StageId) {
        let stage = StageId::new("Tâche 7").expect("a valid id");
        (TaskId::new("0101").expect("a valid id"), RunId::new("r1").expect("a valid id"), stage)
    }

    #[test]
    fn paths_inside_the_repository_are_shown_relative() {
        let (task, run, _) = ids();
        let layout = layout();
        assert_eq!(layout.show(&layout.manifest_path(&task, &run)), ".runs/0101/cli/r1/manifest.json");
        assert_eq!(layout.show(&layout.state_path(&task)), "/elsewhere/out/0101/state.json");
        assert_eq!(layout.show(Path::new("/repo")), ".");
        assert_eq!(layout.show(Path::new("/repository/x")), "/repository/x");
    }

    #[test]
    fn log_names_follow_from_the_stage_and_the_attempt() {
        let (task, run, stage) = ids();
        let log = |attempt| layout().show(&layout().attempt_log(&task, &run, &stage, attempt));
        assert_eq!(log(1), ".runs/0101/cli/r1/logs/t-che-7-d3ff96c5.log");
        assert_eq!(log(2), ".runs/0101/cli/r1/logs/t-che-7-d3ff96c5.2.log");
        let plain = StageId::new("cargo-test").expect("a valid id");
        let index = layout().attempt_index(&task, &run, &plain, 3);
        assert_eq!(layout().show(&index), ".runs/0101/cli/r1/logs/cargo-test.3.index.jsonl");
        let long = StageId::new("é".repeat(60)).expect("a valid id");
        assert_eq!(slug(&long), "-".repeat(40));
    }
}
