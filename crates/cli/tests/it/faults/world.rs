//! A repository whose stages leave traces outside of it, and what must hold of every run in it.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;

use co_log::{EventLog as _, RunFilter, RunHead};
use co_log_sqlite::{OpenMode, SqliteLog};
use co_model::{EventSeq, RunId, TaskId};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Project, wait_for};

/// `stage.sh NAME [SCRIPT]`: notes its beginning and its end, and that it is alone.
const STAGE: &str = r#"#!/bin/sh
exec 9>>"../lock.$1"
flock -n 9 || echo "overlap $1" >>../effects
echo "+$1" >>../effects
eval "$2"
echo "-$1" >>../effects
"#;

/// A repository with the traces of its stages beside it.
pub(super) struct World {
    pub(super) project: Project,
}

impl World {
    pub(super) fn new(pipelines: &str) -> Self {
        let world = Self { project: Project::with_pipelines(pipelines) };
        std::fs::write(world.outside("stage.sh"), STAGE).unwrap();
        world
    }

    /// A path beside the repository.
    pub(super) fn outside(&self, name: &str) -> PathBuf {
        self.project.root().parent().unwrap().join(name)
    }

    /// Makes an empty file beside the repository, for which stages wait.
    pub(super) fn touch(&self, name: &str) {
        std::fs::write(self.outside(name), "").unwrap();
    }

    /// Removes a file beside the repository; one that is not there is no error.
    pub(super) fn remove(&self, name: &str) {
        drop(std::fs::remove_file(self.outside(name)));
    }

    /// What the stages have done, in order.
    pub(super) fn effects(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.outside("effects")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// How often a stage has done a thing: `+a` for its beginning, `-a` for its end.
    pub(super) fn count(&self, effect: &str) -> usize {
        self.effects().iter().filter(|line| *line == effect).count()
    }

    fn log(&self) -> SqliteLog {
        SqliteLog::open(&self.project.path(".runs/orchestrator.db"), OpenMode::Existing).unwrap()
    }

    /// All runs in the log; looking at them here mends nothing.
    pub(super) fn heads(&self) -> Vec<RunHead> {
        self.log().heads(&RunFilter { limit: 10_000, ..RunFilter::default() }).unwrap()
    }

    /// Where a run stands in the log; looking at it here mends nothing.
    #[track_caller]
    pub(super) fn status(&self, run: &str) -> &'static str {
        self.log().head(&RunId::new(run).unwrap()).unwrap().unwrap().progress.status.as_str()
    }

    /// The files below the runs and out folders, without the event log.
    pub(super) fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut folders = vec![self.project.path(".runs/local"), self.project.path("out")];
        let mut files = BTreeMap::new();
        while let Some(folder) = folders.pop() {
            for path in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let bytes = std::fs::read(&path).unwrap();
                    files.insert(path, bytes);
                }
            }
        }
        files
    }

    /// The events of a run, checked for gaps and times that go back; none of one that was not recorded.
    #[track_caller]
    pub(super) fn events(&self, run: &str) -> Vec<Value> {
        let id = RunId::new(run).unwrap();
        let task = TaskId::new("local").unwrap();
        let recorded = self.log().events(&id, EventSeq(0), usize::MAX).unwrap();
        let lines = recorded.iter().map(|recorded| co_views::event_line(recorded, &task, &id));
        let events: Vec<Value> = lines.map(|line| serde_json::from_str(&line).unwrap()).collect();
        for (index, event) in events.iter().enumerate() {
            assert_eq!(event["seq"], index as u64 + 1, "no gap: {events:#?}");
        }
        // RFC 3339 in UTC with a fixed number of digits sorts as text.
        assert!(events.is_sorted_by_key(|event| event["at"].as_str().unwrap()), "{events:#?}");
        events
    }

    /// The processes of this repository's stages that are there now.
    pub(super) fn marked(&self) -> Vec<i32> {
        let mark = format!("CODEX_ORCHESTRATOR_REPOSITORY={}", self.project.root().display());
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|&byte| byte == 0).any(|entry| entry == mark.as_bytes())
        })
        .collect()
    }

    #[track_caller]
    pub(super) fn wait_until_nothing_is_left(&self) {
        wait_for("every process of the stages is gone", || self.marked().is_empty().then_some(()));
    }

    /// Runs the probe: `start <pipeline>` or `resume <run>`, killed on one side of the `at`-th
    /// operation of the log.
    #[expect(clippy::disallowed_methods, reason = "the probe is a tool of this test")]
    pub(super) fn probe(&self, verb: [&str; 2], side: &str, at: u64, script: &str) -> Output {
        static PROBE: OnceLock<PathBuf> = OnceLock::new();
        let probe = PROBE.get_or_init(|| co_testkit::example("fault_probe"));
        Command::new(probe)
            .arg(self.project.root())
            .args(verb)
            .args([side, &at.to_string(), script])
            .current_dir(self.project.root())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.outside("home"))
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// The last event of each run that the log had promised to a probe.
    pub(super) fn acknowledged(&self) -> HashMap<String, u64> {
        let text = std::fs::read_to_string(self.outside("acknowledged")).unwrap_or_default();
        let mut last = HashMap::new();
        for line in text.lines() {
            let (run, seq) = line.split_once(' ').unwrap();
            last.insert(run.to_owned(), seq.parse().unwrap());
        }
        last
    }

    /// Every JSON file below the runs and out folders parses, at any instant.
    #[track_caller]
    pub(super) fn every_view_parses(&self) {
        let mut folders = vec![self.project.path(".runs"), self.project.path("out")];
        while let Some(folder) = folders.pop() {
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            for entry in entries.flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "json") {
                    // One that vanished meanwhile belonged to a run that never began.
                    let Ok(text) = std::fs::read_to_string(&path) else { continue };
                    serde_json::from_str::<Value>(&text)
                        .unwrap_or_else(|error| panic!("{}: {error}: {text}", path.display()));
                }
            }
        }
    }

    /// What must hold of a run that is not under way: its views are what the log says.
    #[track_caller]
    pub(super) fn is_told_truly(&self, run: &str) {
        let head = self.log().head(&RunId::new(run).unwrap()).unwrap().unwrap();
        let status = head.progress.status.as_str();
        assert!(!["queued", "in_progress"].contains(&status), "{head:#?}");
        let manifest = self.project.manifest(run);
        assert_eq!(manifest["status"], status, "{manifest:#}");
        fits_schema(&manifest);
        self.project.run(&["rebuild", "--check", "--run", run]).expect(0);
    }

    /// What must hold once nothing is under way: every view is what the log says, and all who count
    /// runs count the same.
    #[track_caller]
    pub(super) fn all_agree(&self) {
        self.every_view_parses();
        let runs = self.heads();
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for run in &runs {
            let status = run.progress.status.as_str();
            *counts.entry(status).or_default() += 1;
            assert!(!["queued", "in_progress"].contains(&status), "{run:#?}");
            let manifest = self.project.manifest(run.run.as_str());
            assert_eq!(manifest["status"], status, "{manifest:#}");
            fits_schema(&manifest);
        }
        self.project.run(&["rebuild", "--check"]).expect(0);
        let metrics = self.project.json_file(".runs/local/metrics.json");
        let state = self.project.json_file("out/local/state.json");
        assert_eq!(metrics["totals"], state["totals"]);
        let totals = &metrics["totals"];
        let count = |status| counts.get(status).copied().unwrap_or_default();
        assert_eq!(totals["runs"], runs.len() as u64, "{totals:#}");
        assert_eq!(totals["unfinished"], count("interrupted"), "{totals:#}");
        for status in ["succeeded", "failed", "cancelled"] {
            assert_eq!(totals[status], count(status), "{totals:#}");
        }
        let shown = self.project.run(&["runs", "--all", "--limit", "10000", "--json"]).expect(0).json();
        assert_eq!(shown.as_array().unwrap().len(), runs.len());
    }
}

/// Whether a probe was killed, as it was asked to.
#[track_caller]
pub(super) fn was_killed(output: &Output) -> bool {
    let killed = output.status.signal() == Some(9);
    assert!(killed || output.status.success(), "{output:#?}");
    killed
}

#[track_caller]
fn fits_schema(manifest: &Value) {
    static SCHEMA: OnceLock<jsonschema::Validator> = OnceLock::new();
    let validator = SCHEMA.get_or_init(|| {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/manifest.schema.json");
        let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        jsonschema::validator_for(&schema).unwrap()
    });
    if let Err(error) = validator.validate(manifest) {
        panic!("{error}: {manifest:#}");
    }
}

/// A run that is in the middle of a stage, and the process that follows it.
pub(super) struct Started {
    program: Child,
    pub(super) run: String,
}

impl Started {
    /// Starts the pipeline `p` and waits until `stage` has begun.
    pub(super) fn in_stage(world: &World, stage: &str) -> Self {
        let begun = world.count(&format!("+{stage}"));
        let known: Vec<RunId> = if world.project.path(".runs/orchestrator.db").exists() {
            world.heads().into_iter().map(|head| head.run).collect()
        } else {
            Vec::new()
        };
        let program = world.project.spawn(&["start", "p"]);
        wait_for("the stage begins", || (world.count(&format!("+{stage}")) > begun).then_some(()));
        let heads = world.heads().into_iter().map(|head| head.run);
        let run = heads.filter(|run| !known.contains(run)).min_by_key(|run| run.as_str().len());
        Self { program, run: run.expect("the run is recorded").to_string() }
    }

    pub(super) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.program);
        kill_process(pid, signal).unwrap();
    }

    /// Kills the program alone.
    pub(super) fn kill(&mut self) {
        self.program.kill().unwrap();
        self.program.wait().unwrap();
    }

    /// Kills the program and all its helpers, so that none of them sees another die.
    pub(super) fn kill_whole_tree(&mut self) {
        let mut helpers = self.helpers("co-zygote");
        helpers.extend(self.helpers("co-supervisor"));
        let pids = || helpers.iter().filter_map(|pid| Pid::from_raw(*pid));
        self.signal(Signal::STOP);
        for signal in [Signal::STOP, Signal::KILL] {
            for pid in pids() {
                // The helper of a stage that has just ended may be gone.
                let sent = kill_process(pid, signal);
                assert!(matches!(sent, Ok(()) | Err(Errno::SRCH)), "{sent:?}");
            }
        }
        self.kill();
    }

    /// The program's helpers of this name that are there now.
    pub(super) fn helpers(&self, name: &str) -> Vec<i32> {
        let mut found = Vec::new();
        let mut open = vec![i32::try_from(self.program.id()).unwrap()];
        while let Some(parent) = open.pop() {
            for pid in children(parent) {
                let called = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                if called.trim() == name {
                    found.push(pid);
                }
                open.push(pid);
            }
        }
        found
    }

    pub(super) fn wait(&mut self) -> ExitStatus {
        wait_for("the program ends", || self.program.try_wait().unwrap())
    }
}

fn children(parent: i32) -> Vec<i32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{parent}/task")) else { return Vec::new() };
    let lists =
        threads.flatten().filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>())
        .collect()
}
