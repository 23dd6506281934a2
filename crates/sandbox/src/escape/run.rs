//! Makes the attempts of one course: prepares, confines, runs, and compares with what the host saw.

use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::fd::AsFd;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use co_model::{NetworkAccess, SandboxPolicy};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::arena::{Arena, command};
use super::attempts::Line;
use super::table::{SURVIVOR, suite};
use super::{Attempted, Attempts, Course, CourseNetwork, EscapeError};
use crate::egress::EgressProxy;
use crate::inner::{ENTRY, ESCAPE, SURVIVE};
use crate::layers::Layer;
use crate::request::{Request, Wrapped};
use crate::sandbox::Sandbox;

/// How long all attempts together may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long an ended group may take to be gone; less than a survivor lives.
const END: Duration = Duration::from_secs(3);
/// The most that the attempts may say.
const MAX_OUTPUT: u64 = 64 << 10;

/// Makes every attempt that should be held under this course, and says of each whether it was.
///
/// Takes a fraction of a second, and some seconds where a survivor is not held.
///
/// # Errors
/// [`EscapeError::Sandbox`] where the sandbox is not available; else see [`EscapeError`].
pub fn run(sandbox: &Sandbox, course: &Course<'_>) -> Result<Attempts, EscapeError> {
    let mut arena = Arena::build(course)?;
    let proxy = match course.network {
        CourseNetwork::Allowed => Some(EgressProxy::start(&[], &arena.aims.root)?),
        CourseNetwork::Off | CourseNetwork::On => None,
    };
    let has_namespaces = sandbox.layers().bubblewrap.is_ok();
    let expected: Vec<(&str, &str)> = suite()
        .iter()
        .filter_map(|escape| Some((escape.name, escape.held_by(course, has_namespaces)?)))
        .collect();

    let mut program = vec![
        course.helper.as_os_str().to_owned(),
        ENTRY.into(),
        ESCAPE.into(),
        serde_json::to_string(&arena.aims).map_err(|error| EscapeError::Run(error.into()))?.into(),
    ];
    program.extend(expected.iter().map(|(name, _)| OsString::from(name)));
    let wrapped = wrap(sandbox, course, &arena, proxy.as_ref(), &program)?;
    let (lines, complaint) = follow(course, &wrapped).map_err(EscapeError::Run)?;

    let mut attempts = Vec::new();
    for (name, layer) in expected {
        let (held, observed) = if name == SURVIVOR {
            try_survivor(sandbox, course, &arena, proxy.as_ref())?
        } else {
            match lines.iter().find(|line| line.name == name) {
                Some(line) if line.held => match arena.evidence(name) {
                    Some(evidence) => (false, evidence),
                    None => (true, line.observed.clone()),
                },
                Some(line) => (false, line.observed.clone()),
                None => (false, format!("there was no answer: {complaint}")),
            }
        };
        attempts.push(Attempted { name: name.to_owned(), layer: layer.to_owned(), held, observed });
    }
    let layers: Vec<Layer> = wrapped.layers.clone();
    Ok(Attempts { layers, weaker: wrapped.weaker.clone(), attempts })
}

fn wrap(
    sandbox: &Sandbox,
    course: &Course<'_>,
    arena: &Arena,
    proxy: Option<&EgressProxy>,
    program: &[OsString],
) -> Result<Wrapped, EscapeError> {
    let policy = SandboxPolicy {
        network: match course.network {
            CourseNetwork::Off => NetworkAccess::Off,
            CourseNetwork::Allowed => NetworkAccess::Allowed(Vec::new()),
            CourseNetwork::On => NetworkAccess::On,
        },
        // The folder of the attempts may be a temporary one, which would be writable as a whole.
        exclude_slash_tmp: true,
        exclude_tmpdir: true,
        ..SandboxPolicy::of(course.mode)
    };
    let workspace = arena.aims.workspace();
    let wrapped = sandbox.wrap(&Request {
        argv: program,
        cwd: &workspace,
        env: &[],
        workspace: &workspace,
        policy: &policy,
        helper: course.helper,
        secrets: &[arena.aims.secret_file(), arena.aims.secret_folder(), arena.aims.records()],
        readable: &[],
        held: &[],
        scratch: None,
        egress: proxy.map(EgressProxy::socket),
        accept_weaker: course.accept_weaker,
    })?;
    Ok(wrapped)
}

fn start(course: &Course<'_>, wrapped: &Wrapped) -> io::Result<Child> {
    let (program, arguments) = wrapped.argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    command(course, program)
        .args(arguments)
        .envs(wrapped.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

/// Runs the attempts to their end; returns their lines, and what was said instead.
fn follow(course: &Course<'_>, wrapped: &Wrapped) -> io::Result<(Vec<Line>, String)> {
    let mut child = start(course, wrapped)?;
    let deadline = Instant::now() + PATIENCE;
    let mut output = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        read_until(stdout, &mut output, deadline)?;
    }
    child.kill()?;
    child.wait()?;
    let mut complaint = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        read_until(stderr, &mut complaint, deadline)?;
    }
    let lines =
        output.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    Ok((lines, String::from_utf8_lossy(&complaint).trim().to_owned()))
}

/// Reads to the end, to the deadline, or to the limit, whatever comes first.
fn read_until(mut stream: impl io::Read + AsFd, bytes: &mut Vec<u8>, deadline: Instant) -> io::Result<()> {
    let mut buffer = [0; 4096];
    while (bytes.len() as u64) < MAX_OUTPUT && is_ready(&stream, deadline)? {
        match stream.read(&mut buffer)? {
            0 => break,
            count => bytes.extend_from_slice(buffer.get(..count).unwrap_or_default()),
        }
    }
    Ok(())
}

fn is_ready(stream: &impl AsFd, deadline: Instant) -> io::Result<bool> {
    let left = deadline.saturating_duration_since(Instant::now());
    let patience = Timespec::try_from(left).map_err(io::Error::other)?;
    Ok(poll(&mut [PollFd::new(stream, PollFlags::IN)], Some(&patience))? > 0)
}

/// Ends a group whose member has left it, and watches whether that member goes too.
fn try_survivor(
    sandbox: &Sandbox,
    course: &Course<'_>,
    arena: &Arena,
    proxy: Option<&EgressProxy>,
) -> Result<(bool, String), EscapeError> {
    let program = [course.helper.as_os_str().to_owned(), ENTRY.into(), SURVIVE.into(), "leader".into()];
    let wrapped = wrap(sandbox, course, arena, proxy, &program)?;
    watch_survivor(course, &wrapped).map_err(EscapeError::Run)
}

fn watch_survivor(course: &Course<'_>, wrapped: &Wrapped) -> io::Result<(bool, String)> {
    let mut child = start(course, wrapped)?;
    let Some(stdout) = child.stdout.take() else { return Ok((false, "it has no output".into())) };
    let mut stdout = BufReader::new(stdout);
    let mut word = String::new();
    if is_ready(stdout.get_ref(), Instant::now() + PATIENCE)? {
        stdout.by_ref().take(16).read_line(&mut word)?;
    }
    child.kill()?;
    child.wait()?;
    if word != "up\n" {
        return Ok((false, "the survivor did not start".into()));
    }
    // The survivor holds the other end for as long as it lives.
    let is_gone = is_ready(stdout.get_ref(), Instant::now() + END)?;
    Ok(if is_gone { (true, "it ended with the group".into()) } else { (false, "it lives on".into()) })
}
