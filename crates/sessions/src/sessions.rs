//! The sessions of one process, by id.
//!
//! Owns which sessions there are and which was used when. Starts one thread for each; makes room by ending the
//! least recently used.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use co_process::{Shutdown, Signal, Spawner};

use crate::event::{Journal, Listener, MakeRedactor};
use crate::limits::{MAX_OUTPUT_TOKENS, MAX_SESSIONS, PROTECTED_SESSIONS, WARN_SESSIONS, Wait};
use crate::session::{Collected, KILL_PATIENCE, Session, StartSession};
use crate::shell::Script;
use crate::tap::Tap;
use crate::{Confined, Confiner, Reply, ScriptReply, SessionError, SessionId, SessionInfo, shell};

/// A session's thread needs little more than the loop that reads its program.
const STACK_BYTES: usize = 512 << 10;
/// How long the end of a session whose exit is known is waited for before its name is refused.
const END_PATIENCE: Duration = Duration::from_secs(2);

/// How sessions are kept.
pub struct Settings {
    /// Hears of every event.
    pub listener: Arc<dyn Listener>,
    /// Makes a redactor for each stream; `None` lets everything through.
    pub redactor: Option<MakeRedactor>,
    /// Builds sandboxes; `None` refuses the sessions that want one.
    pub confiner: Option<Arc<dyn Confiner>>,
    /// Where scripts wait for their shells: a private directory that no program in a sandbox sees. Each session has a
    /// folder in it, which its own sandbox opens.
    pub scratch: PathBuf,
}

/// What a host does about its sessions besides serving them.
pub(crate) trait Keeper: Send + Sync {
    /// A session is about to be started.
    fn entered(&self, info: &SessionInfo) -> io::Result<()>;
    /// A session has ended; nobody knows yet.
    fn ended(&self, info: &SessionInfo);
    /// Everybody can know that a session is over.
    fn over(&self);
    /// A session is no longer kept.
    fn forgot(&self, id: &SessionId);
}

/// Sessions that nobody keeps a ledger of.
struct NoKeeper;

impl Keeper for NoKeeper {
    fn entered(&self, _info: &SessionInfo) -> io::Result<()> {
        Ok(())
    }
    fn ended(&self, _info: &SessionInfo) {}
    fn over(&self) {}
    fn forgot(&self, _id: &SessionId) {}
}

/// Live sessions by id; shared by reference between threads. Dropping it ends all of them.
pub struct Sessions {
    spawner: Arc<Spawner>,
    settings: Settings,
    keeper: Arc<dyn Keeper>,
    table: Mutex<Table>,
    ending: AtomicBool,
}

#[derive(Default)]
struct Table {
    entries: HashMap<SessionId, Entry>,
    /// Counts the uses, to tell which was the last.
    clock: u64,
}

struct Entry {
    session: Arc<Session>,
    used: u64,
}

impl Sessions {
    /// Keeps no sessions yet; they will be started by `spawner`.
    pub fn new(spawner: Arc<Spawner>, settings: Settings) -> Self {
        Self::kept_by(Arc::new(NoKeeper), spawner, settings)
    }

    pub(crate) fn kept_by(keeper: Arc<dyn Keeper>, spawner: Arc<Spawner>, mut settings: Settings) -> Self {
        // Shells go elsewhere. Without a current directory, starting a program fails anyway.
        settings.scratch = std::path::absolute(&settings.scratch).unwrap_or(settings.scratch);
        Self { spawner, settings, keeper, table: Mutex::default(), ending: AtomicBool::new(false) }
    }

    /// Starts a program, and returns what it wrote within the wait, or by its exit.
    ///
    /// When [`MAX_SESSIONS`] are kept, the least recently used makes room, ended ones first, the
    /// [`PROTECTED_SESSIONS`] last used never. An ended session gives its name to a new one.
    ///
    /// # Errors
    /// [`SessionError::Taken`], [`SessionError::Start`], [`SessionError::Ending`] and [`SessionError::System`].
    pub fn start(&self, start: StartSession) -> Result<Reply, SessionError> {
        self.start_collecting(start).map(|(_, collected)| collected.reply)
    }

    pub(crate) fn start_collecting(
        &self,
        start: StartSession,
    ) -> Result<(Arc<Session>, Collected), SessionError> {
        if self.ending.load(Ordering::SeqCst) {
            return Err(SessionError::Ending);
        }
        let id = match &start.id {
            Some(id) => id.clone(),
            None => self.unused_id()?,
        };
        let (wait, tokens) = (start.wait, start.max_output_tokens.unwrap_or(MAX_OUTPUT_TOKENS));
        let system = |step| move |source| SessionError::System { step, source };
        let journal =
            Journal::new(id.clone(), Arc::clone(&self.settings.listener), self.settings.redactor.clone());
        let session =
            Session::new(id.clone(), start, epoch_milliseconds(), journal, Arc::clone(&self.keeper))
                .map_err(system("make a session"))?;
        let session = Arc::new(session);
        let pruned = self.enter(&session)?;
        let confined = match self.prepare(&session) {
            Ok(confined) => confined,
            Err(error) => {
                self.forget(&session);
                return Err(error);
            }
        };
        let weaker = confined.as_ref().and_then(|confined| confined.weaker.clone());
        if let Err(source) = self.keeper.entered(&session.info()) {
            self.forget(&session);
            return Err(SessionError::System { step: "write the ledger", source });
        }
        let (spawner, following) = (Arc::clone(&self.spawner), Arc::clone(&session));
        let spawned = thread::Builder::new()
            .name(format!("session {id}"))
            .stack_size(STACK_BYTES)
            .spawn(move || following.follow(&spawner, confined));
        let started = match spawned {
            Ok(_detached) => {
                session.wait_for_start().map_err(|source| SessionError::Start { id: id.clone(), source })
            }
            Err(source) => Err(SessionError::System { step: "start a thread", source }),
        };
        if let Err(error) = started {
            self.forget(&session);
            return Err(error);
        }
        let mut collected = session.collect(wait.after_start(), wait.until, tokens);
        collected.reply.pruned = pruned;
        collected.reply.warning = match (weaker, self.warning()) {
            (Some(weaker), Some(warning)) => Some(format!("{weaker}. {warning}")),
            (one, other) => one.or(other),
        };
        Ok((session, collected))
    }

    /// Makes the session's folder for scripts, and its sandbox.
    fn prepare(&self, session: &Session) -> Result<Option<Confined>, SessionError> {
        let scratch = self.scratch_of(&session.id);
        let system = |source| SessionError::System { step: "make a folder for scripts", source };
        // An earlier session of that name may have left anything there.
        match fs::remove_dir_all(&scratch) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(system(error)),
            _ => {}
        }
        fs::DirBuilder::new().mode(0o700).recursive(true).create(&scratch).map_err(system)?;
        let Some(how) = &session.start.confinement else { return Ok(None) };
        let refused = |reason| SessionError::Confine { id: session.id.clone(), reason };
        let Some(confiner) = &self.settings.confiner else {
            return Err(refused("sandboxes are not built here".to_owned()));
        };
        let confined = confiner.confine(&session.start, how, &scratch).map_err(refused)?;
        session.confined(how.policy.clone(), &confined);
        Ok(Some(confined))
    }

    /// The folder through which the scripts of a session reach its shell.
    fn scratch_of(&self, id: &SessionId) -> PathBuf {
        self.settings.scratch.join(id.as_str())
    }

    /// Enters a session under its name, and ends another if there is no room.
    fn enter(&self, session: &Arc<Session>) -> Result<Option<SessionId>, SessionError> {
        let namesake = self.lock().entries.get(&session.id).map(|entry| Arc::clone(&entry.session));
        if let Some(namesake) = namesake
            && namesake.exit().is_some()
        {
            // Replies tell of an exit before the last output is drained: whoever knows of it may have the name.
            namesake.wait_until_over(END_PATIENCE);
        }
        let mut table = self.lock();
        if table.entries.get(&session.id).is_some_and(|entry| !entry.session.is_over()) {
            return Err(SessionError::Taken { id: session.id.clone() });
        }
        table.entries.remove(&session.id);
        let victim = if table.entries.len() >= MAX_SESSIONS { table.least_wanted() } else { None };
        let victim = victim.and_then(|id| table.entries.remove(&id));
        let used = table.tick();
        table.entries.insert(session.id.clone(), Entry { session: Arc::clone(session), used });
        drop(table);
        Ok(victim.map(|Entry { session, .. }| {
            session.stop(Shutdown::Immediate);
            // Its end is told, and its name is free, before anything is started in its place.
            session.wait_until_over(KILL_PATIENCE);
            self.keeper.forgot(&session.id);
            self.clear(&session.id);
            session.id.clone()
        }))
    }

    fn forget(&self, session: &Arc<Session>) {
        let mut table = self.lock();
        if table.entries.get(&session.id).is_some_and(|entry| Arc::ptr_eq(&entry.session, session)) {
            table.entries.remove(&session.id);
            self.keeper.forgot(&session.id);
            self.clear(&session.id);
        }
    }

    /// Removes the scripts of a session that is no more.
    fn clear(&self, id: &SessionId) {
        // What is left behind is one small directory in a private place.
        drop(fs::remove_dir_all(self.scratch_of(id)));
    }

    fn unused_id(&self) -> Result<SessionId, SessionError> {
        loop {
            let id = SessionId::random()?;
            if !self.lock().entries.contains_key(&id) {
                return Ok(id);
            }
        }
    }

    fn warning(&self) -> Option<String> {
        let open = self.running();
        (open >= WARN_SESSIONS).then(|| {
            format!(
                "The maximum number of sessions you can keep open is {MAX_SESSIONS} and you currently have {open} \
                 sessions open. Reuse older sessions or close them to prevent automatic pruning of old sessions."
            )
        })
    }

    /// Gives a session bytes to read, and returns what it wrote within the wait; without bytes, polls.
    ///
    /// The bytes of one call stay together, whoever else writes. Blocks while the program does not read and
    /// [`co_process::QUEUE_BYTES`] wait for it.
    ///
    /// # Errors
    /// [`SessionError::Unknown`], and [`SessionError::Input`] for a closed input and an ended program.
    pub fn write(
        &self,
        id: &SessionId,
        bytes: &[u8],
        wait: Wait,
        max_output_tokens: Option<usize>,
    ) -> Result<Reply, SessionError> {
        self.write_collecting(id, bytes, wait, max_output_tokens).map(|(_, collected)| collected.reply)
    }

    pub(crate) fn write_collecting(
        &self,
        id: &SessionId,
        bytes: &[u8],
        wait: Wait,
        max_output_tokens: Option<usize>,
    ) -> Result<(Arc<Session>, Collected), SessionError> {
        let session = self.session(id)?;
        let time = if bytes.is_empty() {
            wait.of_poll()
        } else {
            session.write(bytes)?;
            wait.after_write()
        };
        let collected = session.collect(time, wait.until, max_output_tokens.unwrap_or(MAX_OUTPUT_TOKENS));
        self.touch(id);
        Ok((session, collected))
    }

    /// Gives a session bytes to read, and returns at once.
    ///
    /// # Errors
    /// As [`Sessions::write`].
    pub fn feed(&self, id: &SessionId, bytes: &[u8]) -> Result<(), SessionError> {
        self.session(id)?.write(bytes)
    }

    /// Returns what a session wrote within the wait, or by its exit.
    ///
    /// # Errors
    /// [`SessionError::Unknown`].
    pub fn poll(
        &self,
        id: &SessionId,
        wait: Wait,
        max_output_tokens: Option<usize>,
    ) -> Result<Reply, SessionError> {
        self.write(id, &[], wait, max_output_tokens)
    }

    /// Ends a session's input: the end of file of a pipe, Ctrl-D on a terminal.
    ///
    /// # Errors
    /// [`SessionError::Unknown`], and [`SessionError::Input`] if it was closed already.
    pub fn close_input(&self, id: &SessionId) -> Result<(), SessionError> {
        self.session(id)?.close_input()
    }

    /// Gives a session's terminal another size.
    ///
    /// # Errors
    /// [`SessionError::Unknown`], and [`SessionError::Input`] without a terminal or after the end.
    pub fn resize(&self, id: &SessionId, rows: u16, columns: u16) -> Result<(), SessionError> {
        self.session(id)?.resize(rows, columns)
    }

    /// Sends a signal: to the foreground of a session's terminal, else to all its processes.
    ///
    /// # Errors
    /// [`SessionError::Unknown`], and [`SessionError::Input`] after the end.
    pub fn signal(&self, id: &SessionId, signal: Signal) -> Result<(), SessionError> {
        self.session(id)?.signal(signal)
    }

    /// Ends a session and everything it started, and returns its last output; an ended one just returns it.
    ///
    /// # Errors
    /// [`SessionError::Unknown`], and [`SessionError::Survivors`] if something cannot be killed.
    pub fn kill(
        &self,
        id: &SessionId,
        how: Shutdown,
        max_output_tokens: Option<usize>,
    ) -> Result<Reply, SessionError> {
        self.kill_collecting(id, how, max_output_tokens).map(|(_, collected)| collected.reply)
    }

    pub(crate) fn kill_collecting(
        &self,
        id: &SessionId,
        how: Shutdown,
        max_output_tokens: Option<usize>,
    ) -> Result<(Arc<Session>, Collected), SessionError> {
        let session = self.session(id)?;
        session.stop(how);
        let grace = if how == Shutdown::Graceful { session.start.limits.grace } else { Duration::ZERO };
        let patience = KILL_PATIENCE + grace;
        if !session.wait_until_over(patience) {
            return Err(SessionError::Survivors { id: id.clone(), patience });
        }
        let tokens = max_output_tokens.unwrap_or(MAX_OUTPUT_TOKENS);
        let collected = session.collect(Duration::ZERO, Wait::default().until, tokens);
        Ok((session, collected))
    }

    /// Runs a script inside the shell that a session is, so that what it sets stays set.
    ///
    /// The script is a file that the shell reads with `.`, with `/dev/null` to read from, and the reply holds
    /// exactly what it and its background processes wrote by its end. What they write later comes with the next
    /// reply. A script that ends the shell (`exit`, `set -e`) ends the session, and its code is the shell's.
    /// Scripts of one session run one after the other. For POSIX shells, with or without a terminal.
    ///
    /// After `timeout`, counted from the moment in which the shell begins with it, the script is interrupted as with
    /// Ctrl-C; a shell that does not come back within 2 s is killed. What does not begin within 10 s is no shell, or
    /// busy, and then never begins.
    ///
    /// # Errors
    /// [`SessionError::Unknown`], [`SessionError::Input`], [`SessionError::NotAShell`] and
    /// [`SessionError::System`].
    pub fn run_in(
        &self,
        id: &SessionId,
        script: &[u8],
        timeout: Option<Duration>,
        max_output_tokens: Option<usize>,
    ) -> Result<ScriptReply, SessionError> {
        self.follow_script(id, Script { timeout, max_output_tokens, ..Script::new(script) })
    }

    /// As [`Sessions::run_in`], for who follows the script as it runs and may stop it.
    ///
    /// # Errors
    /// As [`Sessions::run_in`].
    pub fn follow_script(&self, id: &SessionId, script: Script<'_>) -> Result<ScriptReply, SessionError> {
        let session = self.session(id)?;
        shell::run(&session, &self.scratch_of(id), script)
    }

    /// Every kept session, the oldest first.
    pub fn list(&self) -> Vec<SessionInfo> {
        let sessions: Vec<_> = self.lock().entries.values().map(|entry| Arc::clone(&entry.session)).collect();
        let mut list: Vec<_> = sessions.iter().map(|session| session.info()).collect();
        list.sort_by(|a, b| (a.started_at, &a.session).cmp(&(b.started_at, &b.session)));
        list
    }

    /// Forgets every ended session, with what nobody has read of it; returns their names.
    pub fn prune(&self) -> Vec<SessionId> {
        let mut table = self.lock();
        let ended = table.entries.extract_if(|_, entry| entry.session.is_over());
        let mut names: Vec<_> = ended.map(|(id, _)| id).collect();
        drop(table);
        names.sort();
        for id in &names {
            self.keeper.forgot(id);
            self.clear(id);
        }
        names
    }

    /// How many sessions run.
    pub fn running(&self) -> usize {
        self.lock().entries.values().filter(|entry| !entry.session.is_over()).count()
    }

    /// Ends every session and starts no more; returns when all are gone, or after ten seconds.
    pub fn end_all(&self) {
        self.ending.store(true, Ordering::SeqCst);
        let sessions: Vec<_> = self.lock().entries.values().map(|entry| Arc::clone(&entry.session)).collect();
        for session in &sessions {
            session.stop(Shutdown::Immediate);
        }
        for session in &sessions {
            session.wait_until_over(KILL_PATIENCE);
        }
    }

    /// Attaches a tap; returns the session and how many bytes of its log came before.
    pub(crate) fn attach(&self, id: &SessionId, tap: &Arc<Tap>) -> Result<(Arc<Session>, u64), SessionError> {
        let session = self.session(id)?;
        let before = session.tap(Arc::clone(tap));
        Ok((session, before))
    }

    fn session(&self, id: &SessionId) -> Result<Arc<Session>, SessionError> {
        let mut table = self.lock();
        let used = table.tick();
        let entry = table.entries.get_mut(id).ok_or_else(|| SessionError::Unknown { id: id.clone() })?;
        entry.used = used;
        Ok(Arc::clone(&entry.session))
    }

    /// A call that waited long was a use until its end.
    fn touch(&self, id: &SessionId) {
        drop(self.session(id));
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Sessions {
    fn drop(&mut self) {
        self.end_all();
    }
}

impl Table {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn least_wanted(&self) -> Option<SessionId> {
        let uses = self.entries.iter().map(|(id, entry)| (id, entry.used, entry.session.is_over()));
        least_wanted(uses.collect()).cloned()
    }
}

/// Picks the session that makes room: of all but the most recently used, the least recently used ended one, else
/// the least recently used.
fn least_wanted<Id>(mut uses: Vec<(Id, u64, bool)>) -> Option<Id> {
    uses.sort_by_key(|&(_, used, _)| Reverse(used));
    let candidates = uses.into_iter().skip(PROTECTED_SESSIONS);
    candidates.min_by_key(|&(_, used, over)| (!over, used)).map(|(id, ..)| id)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the list tells people when a session was started; nothing decides by it"
)]
fn epoch_milliseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first_and_ended_ones_before() {
        let uses = |ended: &[u64]| (1..=20).map(|n| (n, n, ended.contains(&n))).collect::<Vec<_>>();
        assert_eq!(least_wanted(uses(&[])), Some(1));
        assert_eq!(least_wanted(uses(&[5, 9])), Some(5));
        // The last eight are protected, ended or not.
        assert_eq!(least_wanted(uses(&[13, 20])), Some(1));
        assert_eq!(least_wanted(uses(&[12])), Some(12));
        assert_eq!(least_wanted(uses(&[])[..8].to_vec()), None);
    }
}
