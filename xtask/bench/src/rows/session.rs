//! What is written to a live session until it is seen again, beside the same through a bare pipe or terminal.
//!
//! Measured through the socket of the sessions' host, as every surface does: the answer to a write is waited for on the
//! same connection. The time a command line takes to start is not in it.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use co_sessions::client::Connection;
use co_sessions::{Endpoint, SessionId, Wait};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::Outcome;
use crate::contestant::Product;
use crate::place::Place;
use crate::report::{Row, Verdict};
use crate::sample::{median, millis, ratio, take_turns};

const BAR: Duration = Duration::from_millis(5);
/// Of each turn; they are short.
const ROUND_TRIPS: usize = 200;
const PATIENCE: Duration = Duration::from_secs(10);
const LINE: &[u8] = b"x\n";

pub(crate) fn measure(product: &Product, rounds: usize) -> Outcome<Vec<Row>> {
    let place = Place::new(&[])?;
    let keeper = Keeper { place: &place, product };
    let mut rows = Vec::new();
    for (name, terminal) in [("pipes", false), ("terminal", true)] {
        let mut session = keeper.session(name, terminal)?;
        let mut floor = if terminal { Floor::terminal(&place)? } else { Floor::pipes(&place)? };
        let [ours, bare] = take_turns(
            rounds,
            [&mut || median_of(|| session.round_trip()), &mut || median_of(|| floor.round_trip())],
        )?;
        rows.push(Row {
            what: format!(
                "live session on {}, write until seen",
                if terminal { "a terminal" } else { "pipes" }
            ),
            bar: "≤ 5 ms, through the host's socket".into(),
            ours: millis(ours),
            reference: format!(
                "`cat` on a bare {} {}",
                if terminal { "terminal" } else { "pipe" },
                millis(bare)
            ),
            ratio: format!("{:.1}×", ratio(ours, bare)),
            verdict: Verdict::of(ours <= BAR),
        });
    }
    Ok(rows)
}

/// The middle of many round trips.
fn median_of(mut round_trip: impl FnMut() -> Outcome<Duration>) -> Outcome<Duration> {
    let times: Outcome<Vec<Duration>> = (0..ROUND_TRIPS).map(|_| round_trip()).collect();
    Ok(median(times?))
}

/// The process that keeps the sessions of the place; told to end with this.
struct Keeper<'k> {
    place: &'k Place,
    product: &'k Product,
}

impl Keeper<'_> {
    /// Starts `cat` as a session, as a person would, and connects to its keeper.
    fn session(&self, name: &str, terminal: bool) -> Outcome<Session> {
        let mut words = vec!["session", "start", "--name", name, "--json"];
        words.extend(terminal.then_some("--tty"));
        words.extend(["--", "cat"]);
        self.place.json(&self.product.program, &words)?;
        let folder = self.place.path().join(".runs/.sessions");
        let of_user = std::fs::read_dir(folder)?.next().ok_or("the product keeps no sessions")??;
        let connection = Connection::connect(&Endpoint::new(of_user.path()))?;
        // A terminal says it twice, each time with a carriage return.
        let answer = if terminal { "x\r\nx\r\n" } else { "x\n" };
        Ok(Session { connection, id: name.parse()?, answer })
    }
}

impl Drop for Keeper<'_> {
    fn drop(&mut self) {
        // It would end by itself when nothing runs any more.
        drop(self.place.json(&self.product.program, &["session", "kill", "--all", "--json"]));
    }
}

struct Session {
    connection: Connection,
    id: SessionId,
    /// All that comes back of a line, in however many pieces.
    answer: &'static str,
}

impl Session {
    /// On a terminal the first that is seen is its echo; what `cat` says after it is taken out of the way.
    fn round_trip(&mut self) -> Outcome<Duration> {
        let begun = Instant::now();
        let reply = self.connection.write(&self.id, LINE, Wait::for_output(PATIENCE), None)?;
        let time = begun.elapsed();
        let mut seen = reply.output;
        while seen.len() < self.answer.len() {
            let more = self.connection.poll(&self.id, Wait::for_output(PATIENCE), None)?.output;
            if more.is_empty() {
                break;
            }
            seen += &more;
        }
        if seen == self.answer { Ok(time) } else { Err(format!("the session answered {seen:?}").into()) }
    }
}

/// `cat` without anybody in between.
struct Floor {
    cat: Child,
    input: Box<dyn Write>,
    output: Box<dyn Read>,
    /// How many bytes come back at first, and in all.
    answers: (usize, usize),
}

impl Floor {
    fn pipes(place: &Place) -> Outcome<Self> {
        let mut cat = place.command("cat", &[]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = Box::new(cat.stdin.take().ok_or("no pipe")?);
        let output = Box::new(cat.stdout.take().ok_or("no pipe")?);
        Ok(Self { cat, input, output, answers: (2, 2) })
    }

    fn terminal(place: &Place) -> Outcome<Self> {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let name = ptsname(&ours, Vec::new())?;
        let theirs = rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty())?;
        let cat = place.command("cat", &[]).stdin(theirs.try_clone()?).stdout(theirs).spawn()?;
        let ours = File::from(ours);
        Ok(Self { cat, input: Box::new(ours.try_clone()?), output: Box::new(ours), answers: (3, 6) })
    }

    fn round_trip(&mut self) -> Outcome<Duration> {
        let (first, all) = self.answers;
        let mut seen = [0; 6];
        let (echo, rest) = seen.split_at_mut(first);
        let begun = Instant::now();
        self.input.write_all(LINE)?;
        self.output.read_exact(echo)?;
        let time = begun.elapsed();
        self.output.read_exact(rest.get_mut(..all - first).unwrap_or_default())?;
        Ok(time)
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        // One that is gone already needs no end.
        drop(self.cat.kill());
        drop(self.cat.wait());
    }
}
