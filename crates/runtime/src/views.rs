//! Views on disk: written behind the run, atomically, and rebuildable from the log.
//!
//! A writer of its own coalesces changes, so that a run of many short stages does not spend its
//! time writing manifests. Views are not synced to the disk: after a power cut they are rebuilt.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use co_engine::{Phase, RunState};
use co_log::Progress;
use co_model::{EventSeq, RunId, StageStatus, Timestamp};
use co_views::{Heartbeat, Layout, to_json};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use tempfile::NamedTempFile;

use crate::error::RuntimeError;
use crate::orchestrator::Shared;
use crate::{launch, task_views};

/// The shortest time between two writes of a live manifest.
const WRITE_INTERVAL: Duration = Duration::from_millis(200);

/// How many events are held in memory while their stream is written.
const EVENTS_A_PAGE: usize = 1_000;

/// Writes the views of one run while it is under way.
pub(crate) struct ViewWriter {
    shared: Arc<Shared>,
    slot: Arc<Slot>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Slot {
    next: Mutex<Next>,
    changed: Condvar,
}

#[derive(Default)]
struct Next {
    pending: Option<(RunState, Timestamp)>,
    closing: bool,
}

impl ViewWriter {
    pub(crate) fn start(shared: Arc<Shared>) -> Result<Self, RuntimeError> {
        let slot = Arc::new(Slot::default());
        let (theirs, for_thread) = (Arc::clone(&slot), Arc::clone(&shared));
        let thread = thread::Builder::new()
            .name("views".to_owned())
            .spawn(move || write_behind(&for_thread, &theirs))
            .map_err(|source| RuntimeError::Thread { source })?;
        Ok(Self { shared, slot, thread: Some(thread) })
    }

    /// Offers a newer state; only the newest is written.
    pub(crate) fn update(&self, state: &RunState, heartbeat: Timestamp) {
        let mut next = self.slot.next.lock().unwrap_or_else(PoisonError::into_inner);
        next.pending = Some((state.clone(), heartbeat));
        self.slot.changed.notify_one();
    }

    /// Ends the writer and writes everything a finished run leaves behind.
    pub(crate) fn finish(mut self, state: &RunState) {
        self.close();
        refresh(&self.shared, state.run());
    }

    fn close(&mut self) {
        {
            let mut next = self.slot.next.lock().unwrap_or_else(PoisonError::into_inner);
            next.closing = true;
            next.pending = None;
            self.slot.changed.notify_one();
        }
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Drop for ViewWriter {
    fn drop(&mut self) {
        self.close();
    }
}

fn write_behind(shared: &Shared, slot: &Slot) {
    let mut next = slot.next.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let idle = |next: &mut Next| next.pending.is_none() && !next.closing;
        next = slot.changed.wait_while(next, idle).unwrap_or_else(PoisonError::into_inner);
        let Some((state, heartbeat)) = next.pending.take() else { return };
        drop(next);
        shared.note(write_live(shared, &state, heartbeat));
        next = slot.next.lock().unwrap_or_else(PoisonError::into_inner);
        let open = |next: &mut Next| !next.closing;
        let (guard, _) = slot
            .changed
            .wait_timeout_while(next, WRITE_INTERVAL, open)
            .unwrap_or_else(PoisonError::into_inner);
        next = guard;
    }
}

/// A sign of life, with the limits the run was started under: a view that is rebuilt under other
/// settings must not differ.
pub(crate) fn heartbeat(state: &RunState, at: Timestamp) -> Heartbeat {
    let settings = &state.created.settings;
    Heartbeat {
        at: Some(at),
        interval: Duration::from_millis(settings.heartbeat_interval_ms),
        stale_after: Duration::from_millis(settings.stale_after_ms),
    }
}

/// What changes while a run is under way: its manifest and its sign of life.
fn write_live(shared: &Shared, state: &RunState, heartbeat: Timestamp) -> Result<(), RuntimeError> {
    let layout = &shared.options.layout;
    let created = &state.created;
    let manifest = co_views::manifest(state, layout, self::heartbeat(state, heartbeat));
    write_atomically(&layout.manifest_path(&created.task, &created.run), to_json(&manifest).as_bytes())?;
    write_atomically(&layout.heartbeat_path(&created.task, &created.run), format!("{heartbeat}\n").as_bytes())
}

/// Writes every view of a run that is not under way, and those of its task, from the log. Failures
/// are noted: the log has everything, and `rebuild` writes them later.
pub(crate) fn refresh(shared: &Shared, run: &RunId) {
    shared.note(write_run(shared, run, true));
}

fn write_run(shared: &Shared, run: &RunId, with_task: bool) -> Result<(), RuntimeError> {
    let head = shared.log.head(run)?.ok_or_else(|| RuntimeError::UnknownRun(run.clone()))?;
    let task = &head.progress.task;
    let lock = task_views::lock(shared, task)?;
    let state = launch::load(shared, run)?;
    for (path, text) in documents(shared, &state) {
        write_atomically(&path, text.as_bytes())?;
    }
    let events = events_path(shared, &state);
    persist(event_stream(shared, &state, file_beside(&events)?)?, &events)?;
    if with_task {
        task_views::write(shared, task, &lock)?;
    }
    Ok(shared.log.views_written(run, state.last_seq)?)
}

/// The views of one run with their paths, byte for byte as they are written when it is not under way.
fn documents(shared: &Shared, state: &RunState) -> Vec<(PathBuf, String)> {
    let layout = &shared.options.layout;
    let (task, run) = (&state.created.task, &state.created.run);
    let summary = to_json(&co_views::run_summary(state, layout));
    let heartbeat = state.completed_at.unwrap_or(state.updated_at);
    let mut documents = vec![
        (
            layout.manifest_path(task, run),
            to_json(&co_views::manifest(state, layout, self::heartbeat(state, heartbeat))),
        ),
        (layout.heartbeat_path(task, run), format!("{heartbeat}\n")),
        (layout.run_summary_path(task, run), summary.clone()),
        (layout.task_manifest_path(task, run), summary),
    ];
    for record in &state.stages {
        if let Some(artifact) = co_views::error_artifact(state, layout, record.id()) {
            documents.push((layout.error_path(task, run, record.id()), to_json(&artifact)));
        }
    }
    documents
}

/// A view that differs from what the log says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ViewDifference {
    /// It is not there.
    Missing(PathBuf),
    /// Its bytes differ.
    Differs(PathBuf),
}

/// What a rebuild found or did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RebuildReport {
    /// The run.
    pub run: RunId,
    /// Views that were missing or different.
    pub differences: Vec<ViewDifference>,
    /// Whether they were written.
    pub written: bool,
}

/// Compares the views of a run with its log, and writes them unless `check` is set.
pub(crate) fn rebuild(shared: &Shared, run: &RunId, check: bool) -> Result<RebuildReport, RuntimeError> {
    let state = launch::load(shared, run)?;
    let documents = documents(shared, &state);
    let mut differences = differences(&documents);
    let path = events_path(shared, &state);
    // Only compared: where nothing can be written beside them, anywhere else will do.
    let events = match file_beside(&path) {
        Err(error) if check => NamedTempFile::new().map_err(|_| error)?,
        beside => beside?,
    };
    let events = event_stream(shared, &state, events)?;
    match same_bytes(events.path(), &path) {
        Ok(true) => {}
        Ok(false) => differences.push(ViewDifference::Differs(path.clone())),
        Err(_) => differences.push(ViewDifference::Missing(path.clone())),
    }
    if !check {
        drop(events);
        write_run(shared, run, false)?;
    }
    Ok(RebuildReport { run: run.clone(), written: !check && !differences.is_empty(), differences })
}

/// Which documents on disk are not what they should be.
pub(crate) fn differences(documents: &[(PathBuf, String)]) -> Vec<ViewDifference> {
    let mut differences = Vec::new();
    for (path, text) in documents {
        match std::fs::read(path) {
            Ok(bytes) if bytes == text.as_bytes() => {}
            Ok(_) => differences.push(ViewDifference::Differs(path.clone())),
            Err(_) => differences.push(ViewDifference::Missing(path.clone())),
        }
    }
    differences
}

fn events_path(shared: &Shared, state: &RunState) -> PathBuf {
    shared.options.layout.events_path(&state.created.task, state.run())
}

/// Writes the run's events, one envelope a line, to a file. Read page by page: a long run does not fit into memory.
fn event_stream(
    shared: &Shared,
    state: &RunState,
    file: NamedTempFile,
) -> Result<NamedTempFile, RuntimeError> {
    let path = events_path(shared, state);
    let failed = |source: io::Error| RuntimeError::Files { path: path.clone(), source };
    let mut file = BufWriter::new(file);
    let (task, run) = (&state.created.task, state.run());
    let mut seen = EventSeq(0);
    loop {
        let page = shared.log.events(run, seen, EVENTS_A_PAGE)?;
        let Some(last) = page.last() else { break };
        seen = last.seq;
        for recorded in &page {
            writeln!(file, "{}", co_views::event_line(recorded, task, run)).map_err(failed)?;
        }
    }
    file.into_inner().map_err(|error| failed(error.into_error()))
}

fn same_bytes(one: &Path, other: &Path) -> io::Result<bool> {
    let (one, other) = (File::open(one)?, File::open(other)?);
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut one, mut other) = (BufReader::new(one), BufReader::new(other));
    loop {
        let (left, right) = (one.fill_buf()?, other.fill_buf()?);
        let length = left.len().min(right.len());
        if left[..length] != right[..length] {
            return Ok(false);
        }
        if length == 0 {
            return Ok(true);
        }
        one.consume(length);
        other.consume(length);
    }
}

/// Writes a file so that a reader sees the old bytes or the new ones, never a part.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), RuntimeError> {
    let mut file = file_beside(path)?;
    file.write_all(bytes).map_err(|source| RuntimeError::Files { path: path.to_owned(), source })?;
    persist(file, path)
}

/// Writes a file of a folder below `root` that confined commands may write, by the same rules.
///
/// They may have left a link in the folder's place, which would lead us out of what they may write: it is opened
/// as itself, and all else happens inside it. The caller is the only one who writes the file.
pub(crate) fn write_below(root: &Path, folder: &str, name: &str, bytes: &[u8]) -> Result<(), RuntimeError> {
    let written = || -> io::Result<()> {
        std::fs::create_dir_all(root)?;
        let open = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(root, open, Mode::empty())?;
        match rustix::fs::mkdirat(&root, folder, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let folder = rustix::fs::openat(&root, folder, open | OFlags::NOFOLLOW, Mode::empty())?;
        let partial = format!(".writing-{name}");
        match rustix::fs::unlinkat(&folder, &partial, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&folder, &partial, create, Mode::from_raw_mode(0o644))?;
        File::from(file).write_all(bytes)?;
        Ok(rustix::fs::renameat(&folder, &partial, &folder, name)?)
    };
    written().map_err(|source| RuntimeError::Files { path: root.join(folder).join(name), source })
}

/// Makes a file in the same folder, which is made too.
fn file_beside(path: &Path) -> Result<NamedTempFile, RuntimeError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)
        .and_then(|()| {
            tempfile::Builder::new()
                .prefix(".writing-")
                .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
                .tempfile_in(folder)
        })
        .map_err(|source| RuntimeError::Files { path: path.to_owned(), source })
}

/// Gives a file made by [`file_beside`] its name.
fn persist(file: NamedTempFile, path: &Path) -> Result<(), RuntimeError> {
    match file.persist(path) {
        Ok(_) => Ok(()),
        Err(error) => Err(RuntimeError::Files { path: path.to_owned(), source: error.error }),
    }
}

/// The searchable part of a state, as the log keeps it.
pub(crate) fn progress(state: &RunState, layout: &Layout) -> Progress {
    let count = |wanted: StageStatus| {
        let stages = state.stages.iter().filter(|record| !record.removed && record.status() == wanted);
        u32::try_from(stages.count()).unwrap_or(u32::MAX)
    };
    let detail = match &state.phase {
        Phase::Finished { outcome } => outcome.detail().map(str::to_owned),
        Phase::Interrupted { detail } => Some(detail.clone()),
        Phase::Cancelling { .. } => Some("cancelling".to_owned()),
        Phase::Created | Phase::Running => None,
    };
    let over = state.status().is_over();
    Progress {
        task: state.created.task.clone(),
        pipeline: state.created.pipeline.id.clone(),
        parent: state.created.settings.parent.clone(),
        status: state.status(),
        status_detail: detail,
        created_at: state.created_at,
        completed_at: state.completed_at,
        stages_passed: count(StageStatus::Succeeded),
        stages_failed: count(StageStatus::Failed),
        stages_planned: state
            .plan
            .as_ref()
            .map_or(0, |plan| u32::try_from(plan.stages.len()).unwrap_or(u32::MAX)),
        summary: over.then(|| co_views::summary(state)),
        metrics: over.then(|| to_json(&co_views::metrics_record(state, layout))),
    }
}

/// Whether the views on disk lag behind the log.
pub(crate) fn lag(views: EventSeq, last: EventSeq) -> bool {
    views < last
}
