//! Telling clients that the resources of a run have changed.
//!
//! A watcher looks at all runs of one client together, a few times a second, and tells of a change
//! once, however many events it was made of. A client that listens without a session is told once at
//! the beginning as well.

use std::collections::BTreeMap;
use std::time::Duration;

use co_model::{EventSeq, RunId};

use crate::desk::Desk;
use crate::host::Refusal;
use crate::resources::Address;

/// How many resources one client may watch.
pub(crate) const MOST: usize = 100;
/// How often the runs are looked at.
pub(crate) const LOOK: Duration = Duration::from_millis(250);
/// How many events are read at a time to find the last one.
const PAGE: usize = 1_000;

/// The resources that one client watches.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    /// By address: the run, and its last event that the client was told of.
    resources: BTreeMap<String, (RunId, EventSeq)>,
}

impl Watched {
    /// Adds a resource, which is known to be as of `seen`.
    pub(crate) fn add(&mut self, uri: String, run: RunId, seen: EventSeq) -> Result<(), Refusal> {
        if self.resources.len() >= MOST && !self.resources.contains_key(&uri) {
            let message = format!("{MOST} resources are watched already");
            return Err(Refusal::new(Refusal::REFUSED, message));
        }
        self.resources.insert(uri, (run, seen));
        Ok(())
    }

    /// Takes a resource away; one that is not there is no failure.
    pub(crate) fn remove(&mut self, uri: &str) {
        self.resources.remove(uri);
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<String> {
        self.resources.keys().cloned().collect()
    }

    /// The runs to look at, each with the first event that would be news to somebody.
    pub(crate) fn runs(&self) -> BTreeMap<RunId, EventSeq> {
        let mut runs = BTreeMap::new();
        for (run, seen) in self.resources.values() {
            let least = runs.entry(run.clone()).or_insert(*seen);
            *least = (*least).min(*seen);
        }
        runs
    }

    /// Notes how far the runs have come; returns the resources that have changed.
    pub(crate) fn moved(&mut self, runs: &BTreeMap<RunId, EventSeq>) -> Vec<String> {
        let mut changed = Vec::new();
        for (uri, (run, seen)) in &mut self.resources {
            if let Some(now) = runs.get(run).filter(|now| *now > seen) {
                *seen = *now;
                changed.push(uri.clone());
            }
        }
        changed
    }
}

/// The run that an address belongs to. Nothing else changes while it is watched.
pub(crate) fn run_of(uri: &str) -> Result<RunId, Refusal> {
    match Address::parse(uri)? {
        Address::Run(run, _) => Ok(run),
        Address::Pipelines | Address::Pipeline(_) => {
            Err(Refusal::usage(format!("`{uri}` cannot be watched; only the resources of runs can")))
        }
    }
}

/// How far runs have come. A run that cannot be read is left out until it can.
pub(crate) async fn look(desk: &Desk, runs: BTreeMap<RunId, EventSeq>) -> BTreeMap<RunId, EventSeq> {
    let looked = desk.runtime(move |runtime| {
        let last = |run: &RunId, seen: EventSeq| {
            let mut last = seen;
            while let Some(recorded) = runtime.events(run, last, PAGE).ok()?.last() {
                last = recorded.seq;
            }
            Some(last)
        };
        Ok(runs.into_iter().filter_map(|(run, seen)| last(&run, seen).map(|last| (run, last))).collect())
    });
    looked.await.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_told_once_and_the_list_is_bounded() {
        let run = RunId::new("r1").unwrap();
        let mut watched = Watched::default();
        watched.add("a".into(), run.clone(), EventSeq(3)).unwrap();
        watched.add("b".into(), run.clone(), EventSeq(5)).unwrap();
        assert_eq!(watched.runs(), BTreeMap::from([(run.clone(), EventSeq(3))]));
        let now = BTreeMap::from([(run.clone(), EventSeq(5))]);
        assert_eq!(watched.moved(&now), ["a"]);
        assert!(watched.moved(&now).is_empty());
        watched.remove("a");
        for number in 1..MOST {
            watched.add(number.to_string(), run.clone(), EventSeq(0)).unwrap();
        }
        assert!(watched.add("one too many".into(), run.clone(), EventSeq(0)).is_err());
        assert!(watched.add("b".into(), run, EventSeq(0)).is_ok(), "again is not more");
    }
}
