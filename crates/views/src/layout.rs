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

    /// The output of one attempt: `logs/NN-<slug>.log`, from the second attempt on
    /// `logs/NN-<slug>.<attempt>.log`. `number` is [`crate::stage_number`].
    pub fn attempt_log(
        &self,
        task: &TaskId,
        run: &RunId,
        number: u32,
        stage: &StageId,
        attempt: u32,
    ) -> PathBuf {
        self.logs_dir(task, run).join(format!("{}.log", attempt_stem(number, stage, attempt)))
    }

    /// The index of one attempt's output, beside its log.
    pub fn attempt_index(
        &self,
        task: &TaskId,
        run: &RunId,
        number: u32,
        stage: &StageId,
        attempt: u32,
    ) -> PathBuf {
        self.logs_dir(task, run).join(format!("{}.index.jsonl", attempt_stem(number, stage, attempt)))
    }

    /// What is recorded about a failed stage: `errors/NN-<slug>.json`.
    pub fn error_path(&self, task: &TaskId, run: &RunId, number: u32, stage: &StageId) -> PathBuf {
        self.run_dir(task, run).join("errors").join(format!("{}.json", stage_stem(number, stage)))
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
        self.out_dir.join(task.as_str()).join("state.json")
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

fn stage_stem(number: u32, stage: &StageId) -> String {
    format!("{number:02}-{}", slug(stage))
}

fn attempt_stem(number: u32, stage: &StageId, attempt: u32) -> String {
    let stem = stage_stem(number, stage);
    if attempt > 1 { format!("{stem}.{attempt}") } else { stem }
}

/// The stage's id in the letters every file system keeps apart: lower-case ASCII letters, digits
/// and dashes, at most 40. Not unique; the number before it is.
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
    fn log_names_carry_number_slug_and_later_attempts() {
        let (task, run, stage) = ids();
        let log = |attempt| layout().show(&layout().attempt_log(&task, &run, 7, &stage, attempt));
        assert_eq!(log(1), ".runs/0101/cli/r1/logs/07-t-che-7.log");
        assert_eq!(log(2), ".runs/0101/cli/r1/logs/07-t-che-7.2.log");
        let index = layout().attempt_index(&task, &run, 100, &stage, 3);
        assert_eq!(layout().show(&index), ".runs/0101/cli/r1/logs/100-t-che-7.3.index.jsonl");
        let long = StageId::new("é".repeat(60)).expect("a valid id");
        assert_eq!(slug(&long), "-".repeat(40));
    }
}
