//! One stream on its way through a guard. Owns the bytes that wait, and the counts of what was found.
//!
//! What comes out depends on what went in, never on where it was cut: a decision is made once all bytes it depends
//! on are there. Bytes that already went out stay in the buffer while a match may still look back at them.
//!
//! A chunk is looked at where it lies. Only its beginning is copied behind the bytes that are kept, as far as a
//! decision there needs them, and of its end what the next chunk needs.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::found::Tail;
use crate::guard::Guard;
use crate::mark;
use crate::probe::{LOOKBEHIND, View};
use crate::scanner::{Ahead, Place, Step};
use crate::settings::{Kind, Mode};

/// How much of a chunk is copied behind the bytes that are kept before it is looked at in place; twice as much
/// each time that was too little. What waits is bounded, and so is the buffer.
const JOINED_FIRST: usize = 3 * LOOKBEHIND;

/// Redacts one stream, in any pieces it comes in.
///
/// # What waits
/// A byte waits only while it may belong to a secret: [`push`](Self::push) holds the live beginning of a possible
/// match and nothing else. A prompt such as `Password: ` goes out at once, as no part of it is secret; the answer
/// typed behind it waits for its end. At most 8 KiB wait; a longer secret is withheld as it comes.
///
/// # When nothing more comes for now
/// The last letters of a line may be the first of a key's public prefix, as the `s` of `sk-` is.
/// [`flush_ready`](Self::flush_ready) lets those go, so that a person sees what was printed. It never lets go of
/// a byte of a secret in a known format, of a value or of a pattern's possible match: those wait until more comes
/// or the stream ends. The price is that a key which is cut by a pause within its public prefix leaves those
/// letters in front of its mark.
#[derive(Debug)]
#[must_use = "a redactor that is dropped keeps what waits"]
pub struct Redactor {
    guard: Guard,
    kind: Kind,
    /// What is still needed: bytes to look back at, then bytes that are undecided.
    buffer: Vec<u8>,
    place: Place,
    /// Bytes before this went out or were withheld.
    released: usize,
    /// Up to here bytes wait during a pause.
    ready: usize,
    /// A secret that goes on behind the floor.
    tail: Option<Tail>,
    /// A word may begin at the floor.
    edge: bool,
    counts: BTreeMap<String, u64>,
    withheld: u64,
}

impl Redactor {
    pub(crate) fn new(guard: Guard, kind: Kind) -> Self {
        Self {
            guard,
            kind,
            buffer: Vec::new(),
            place: Place::default(),
            released: 0,
            ready: 0,
            tail: None,
            edge: false,
            counts: BTreeMap::new(),
            withheld: 0,
        }
    }

    /// Takes the next bytes of the stream and appends to `out` what may be seen.
    ///
    /// In shadow mode that is what came, at once.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let rest = self.pass(bytes, out);
        out.extend_from_slice(rest);
    }

    /// Takes the next bytes of the stream; what may be seen is what it appends to `out` and then what it returns.
    ///
    /// Does the same as [`push`](Self::push) without copying what passes unchanged: of a chunk without secrets
    /// nothing is appended and all is returned, but for a beginning of a possible match at its end, which waits.
    pub fn pass<'c>(&mut self, chunk: &'c [u8], out: &mut Vec<u8>) -> &'c [u8] {
        match self.guard.mode() {
            Mode::Off => chunk,
            Mode::Shadow => {
                self.take(chunk, &mut Vec::new());
                chunk
            }
            Mode::Enforce => self.take(chunk, out),
        }
    }

    /// Appends to `out` what need not wait although nothing more comes for now; see the type.
    pub fn flush_ready(&mut self, out: &mut Vec<u8>) {
        if self.guard.mode() == Mode::Enforce && self.ready > self.released {
            out.extend_from_slice(&self.buffer[self.released..self.ready]);
            self.released = self.ready;
        }
    }

    /// Ends the stream: decides about what waits and appends what may be seen. The redactor is then as new, with
    /// its counts.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let mut unseen = Vec::new();
        let buffer = std::mem::take(&mut self.buffer);
        match self.guard.mode() {
            Mode::Off => {}
            Mode::Shadow => self.advance(&buffer, true, &mut Seen::of_kept(&buffer, &mut unseen)),
            Mode::Enforce => self.advance(&buffer, true, &mut Seen::of_kept(&buffer, out)),
        }
        (self.place, self.released, self.ready) = (Place::default(), 0, 0);
        (self.tail, self.edge) = (None, false);
    }

    /// How many secrets were found, by the name of the rule.
    pub fn counts(&self) -> &BTreeMap<String, u64> {
        &self.counts
    }

    /// How many bytes of secrets were found.
    pub const fn bytes_redacted(&self) -> u64 {
        self.withheld
    }

    fn take<'c>(&mut self, chunk: &'c [u8], out: &mut Vec<u8>) -> &'c [u8] {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut seen = Seen { out, chunk, begins: buffer.len(), run: 0..0 };
        let mut joined = 0;
        let mut more = JOINED_FIRST;
        // As long as something before the chunk is needed, and there is more of the chunk to decide with.
        while self.needed() < seen.begins && joined < chunk.len() {
            let until = chunk.len().min(joined + more);
            buffer.extend_from_slice(&chunk[joined..until]);
            (joined, more) = (until, more * 2);
            self.advance(&buffer, false, &mut seen);
        }
        if self.needed() >= seen.begins {
            self.forget(seen.begins);
            seen.begins = 0;
            if joined < chunk.len() {
                self.advance(chunk, false, &mut seen);
            }
            let needed = self.needed();
            buffer.clear();
            buffer.extend_from_slice(&chunk[needed..]);
            self.forget(needed);
        } else {
            let needed = self.needed();
            buffer.drain(..needed);
            self.forget(needed);
        }
        self.buffer = buffer;
        seen.unchanged()
    }

    /// Decides about everything in `bytes` that can be decided.
    fn advance(&mut self, bytes: &[u8], ended: bool, seen: &mut Seen<'_, '_>) {
        let guard = self.guard.clone();
        let mut ahead = Ahead::default();
        loop {
            if !self.advance_tail(bytes, ended) {
                self.ready = self.released;
                return;
            }
            let edge = self.edge.then_some(self.place.floor);
            let view = View { bytes, ended, edge };
            match guard.rules().step(&view, self.kind, self.place, &mut ahead) {
                Step::Clear => {
                    let end = bytes.len();
                    self.release(bytes, end, seen);
                    self.place.scan = end;
                    self.ready = end;
                    return;
                }
                Step::Wait { scan, hold, hold_in_pause } => {
                    let end = bytes.len();
                    self.release(bytes, hold.min(end), seen);
                    self.place.scan = scan;
                    self.ready = hold_in_pause.min(end).max(self.released);
                    return;
                }
                Step::Pass { end } => {
                    self.release(bytes, end, seen);
                    (self.place, self.edge) = (Place { scan: end, floor: end }, true);
                }
                Step::Withhold { rule, start, end, tail, scan } => {
                    self.release(bytes, start, seen);
                    seen.mark(rule);
                    self.count(rule);
                    self.withhold(end);
                    (self.place, self.edge, self.tail) = (Place { scan, floor: end }, true, tail);
                }
            }
        }
    }

    /// Withholds what belongs to the last secret; whether it is over.
    fn advance_tail(&mut self, bytes: &[u8], ended: bool) -> bool {
        let Some(tail) = &mut self.tail else { return true };
        let view = View { bytes, ended, edge: None };
        let (end, over) = tail.advance(&view, self.place.floor);
        self.withhold(end);
        self.place = Place { scan: self.place.scan.max(end), floor: end };
        if over {
            self.tail = None;
        }
        over
    }

    fn release(&mut self, bytes: &[u8], until: usize, seen: &mut Seen<'_, '_>) {
        if until > self.released {
            seen.show(bytes, self.released..until);
            self.released = until;
        }
    }

    fn withhold(&mut self, until: usize) {
        self.withheld += until.saturating_sub(self.released) as u64;
        self.released = self.released.max(until);
    }

    fn count(&mut self, rule: &str) {
        if let Some(count) = self.counts.get_mut(rule) {
            *count += 1;
        } else {
            self.counts.insert(rule.to_owned(), 1);
        }
        self.guard.count(rule);
    }

    /// The first byte that a match may still look at.
    fn needed(&self) -> usize {
        self.place.scan.min(self.released).min(self.ready).saturating_sub(LOOKBEHIND)
    }

    /// Counts places without the first `gone` bytes, which no match can look back at any more.
    fn forget(&mut self, gone: usize) {
        self.edge &= self.place.floor >= gone;
        self.place.scan -= gone;
        self.place.floor = self.place.floor.saturating_sub(gone);
        self.released -= gone;
        self.ready -= gone;
    }
}

/// What may be seen of some bytes, the last of which are the beginning of a chunk or all of it.
struct Seen<'c, 'o> {
    out: &'o mut Vec<u8>,
    chunk: &'c [u8],
    /// Where the chunk begins in the bytes.
    begins: usize,
    /// What comes next of the chunk as it is; not in `out` yet.
    run: Range<usize>,
}

impl<'c, 'o> Seen<'c, 'o> {
    /// For bytes that were kept, without a chunk behind them.
    fn of_kept(kept: &[u8], out: &'o mut Vec<u8>) -> Self {
        Self { out, chunk: &[], begins: kept.len(), run: 0..0 }
    }

    fn show(&mut self, bytes: &[u8], range: Range<usize>) {
        let kept = range.start.min(self.begins)..range.end.min(self.begins);
        if !kept.is_empty() {
            self.settle();
            self.out.extend_from_slice(&bytes[kept]);
        }
        let of_chunk = range.start.max(self.begins) - self.begins..range.end.max(self.begins) - self.begins;
        if of_chunk.is_empty() {
            return;
        }
        if self.run.end != of_chunk.start {
            self.settle();
            self.run.start = of_chunk.start;
        }
        self.run.end = of_chunk.end;
    }

    fn mark(&mut self, rule: &str) {
        self.settle();
        mark::write(rule, self.out);
    }

    fn settle(&mut self) {
        self.out.extend_from_slice(&self.chunk[self.run.clone()]);
        self.run.start = self.run.end;
    }

    fn unchanged(self) -> &'c [u8] {
        &self.chunk[self.run]
    }
}
