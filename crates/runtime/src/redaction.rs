//! The privacy guard in the way of every attempt's output: nothing is kept, shown or sent before it has passed.

use std::collections::BTreeMap;

use co_privacy::{Guard, Kind, Mode, Redactor};
use co_process::{LeaderExit, Observer, ProcessIdentity, Stream};

/// An observer whose program's output is redacted before anybody sees it.
pub(crate) struct Guarded<'o> {
    inner: &'o mut dyn Observer,
    /// One for each stream; `None` lets everything through as it is.
    redactors: Option<[Redactor; 3]>,
}

impl<'o> Guarded<'o> {
    pub(crate) fn new(guard: &Guard, inner: &'o mut dyn Observer) -> Self {
        let stream = || guard.stream(Kind::Output);
        let redactors = (guard.mode() != Mode::Off).then(|| [stream(), stream(), stream()]);
        Self { inner, redactors }
    }

    /// How often each rule has taken something away, or would have.
    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for redactor in self.redactors.iter().flatten() {
            for (rule, count) in redactor.counts() {
                *counts.entry(rule.clone()).or_insert(0) += count;
            }
        }
        counts
    }

    fn redactor(&mut self, stream: Stream) -> Option<&mut Redactor> {
        let [stdout, stderr, terminal] = self.redactors.as_mut()?;
        Some(match stream {
            Stream::Stdout => stdout,
            Stream::Stderr => stderr,
            Stream::Terminal => terminal,
        })
    }
}

impl Observer for Guarded<'_> {
    fn started(&mut self, identity: &ProcessIdentity) {
        self.inner.started(identity);
    }

    fn raw(&mut self, stream: Stream, bytes: &[u8]) {
        self.inner.raw(stream, bytes);
    }

    fn redact(&mut self, stream: Stream, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut kept = Vec::new();
        let rest = self.redactor(stream)?.pass(bytes, &mut kept);
        // Nearly always nothing is found, and nothing is copied.
        if kept.is_empty() && rest.len() == bytes.len() {
            return None;
        }
        kept.extend_from_slice(rest);
        Some(kept)
    }

    fn redact_rest(&mut self, stream: Stream) -> Vec<u8> {
        let mut kept = Vec::new();
        if let Some(redactor) = self.redactor(stream) {
            redactor.finish(&mut kept);
        }
        kept
    }

    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        self.inner.output(stream, bytes);
    }

    fn leader_exited(&mut self, exit: LeaderExit) {
        self.inner.leader_exited(exit);
    }
}
