//! Joins the sources of a guard: what is to be withheld first, and what must wait. Owns the compiled rules.

use crate::found::{Candidate, Hit, Tail, Verdict};
use crate::known::Known;
use crate::patterns::{Allowed, Patterns};
use crate::probe::View;
use crate::settings::Kind;
use crate::values::Values;

/// The compiled rules of one guard.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) known: Known,
    pub(crate) patterns: Option<Patterns>,
    pub(crate) values: Option<Values>,
    pub(crate) allowed: Allowed,
}

/// Where a scan goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    /// The first anchor that is still to be judged.
    pub(crate) scan: usize,
    /// No secret begins before this: it is behind the last one.
    pub(crate) floor: usize,
}

/// What to do with the bytes from a place on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step<'g> {
    /// Nothing in the view is or may become a secret.
    Clear,
    /// Bytes from `hold` on wait for more.
    Wait { scan: usize, hold: usize, hold_in_pause: usize },
    /// Bytes between `start` and `end` are a secret.
    Withhold { rule: &'g str, start: usize, end: usize, tail: Option<Tail>, scan: usize },
    /// A mark ends at `end`.
    Pass { end: usize },
}

/// Candidates of values and patterns, kept until the view changes: looking for them again costs the whole view.
#[derive(Debug, Default)]
pub(crate) struct Ahead<'g> {
    values: Slot<'g>,
    patterns: Slot<'g>,
}

#[derive(Debug, Clone, Copy, Default)]
enum Slot<'g> {
    #[default]
    Unknown,
    Nothing,
    At(Candidate<'g>),
}

impl<'g> Slot<'g> {
    fn first(&mut self, from: usize, look: impl FnOnce() -> Option<Candidate<'g>>) -> Option<Candidate<'g>> {
        let known = match *self {
            Self::Nothing => true,
            Self::At(candidate) => candidate.anchor >= from,
            Self::Unknown => false,
        };
        if !known {
            *self = look().map_or(Self::Nothing, Self::At);
        }
        match *self {
            Self::At(candidate) => Some(candidate),
            Self::Unknown | Self::Nothing => None,
        }
    }
}

/// Overlapping hits, withheld as one: a secret within another never shows by its end.
#[derive(Debug, Clone, Copy)]
struct Cluster<'g> {
    hit: Hit<'g>,
    first_anchor: usize,
}

/// What waits for more bytes.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    scan: usize,
    hold: usize,
    hold_in_pause: usize,
}

impl Waiting {
    fn join(this: Option<Self>, scan: usize, hold: usize, hold_in_pause: usize) -> Self {
        this.map_or(Self { scan, hold, hold_in_pause }, |this| Self {
            scan: this.scan.min(scan),
            hold: this.hold.min(hold),
            hold_in_pause: this.hold_in_pause.min(hold_in_pause),
        })
    }
}

impl Rules {
    /// Decides about the first bytes behind `place` that are not plain text.
    pub(crate) fn step<'g>(
        &'g self,
        view: &View<'_>,
        kind: Kind,
        place: Place,
        ahead: &mut Ahead<'g>,
    ) -> Step<'g> {
        let mut cluster: Option<Cluster<'g>> = None;
        let mut waiting: Option<Waiting> = None;
        // The first anchor of a hit that lies behind the cluster and is still to come.
        let mut later = usize::MAX;
        let mut from = place.scan;
        loop {
            let limit = match (waiting, cluster) {
                (Some(waiting), _) => waiting.hold,
                (None, Some(cluster)) => cluster.hit.end,
                (None, None) => usize::MAX,
            };
            let here = self.first(view, kind, from, place, limit, ahead);
            let Some(anchor) = here.iter().flatten().map(|candidate| candidate.anchor).next() else { break };
            from = anchor + 1;
            for verdict in here.into_iter().flatten().map(|candidate| candidate.verdict) {
                let hit = match verdict {
                    Verdict::Mark { end } => {
                        match &mut cluster {
                            Some(cluster) if cluster.hit.start < anchor => {
                                cluster.hit.end = cluster.hit.end.max(end);
                            }
                            _ if waiting.is_some() => {}
                            _ => return Step::Pass { end },
                        }
                        from = end;
                        break;
                    }
                    Verdict::Waiting { hold, hold_in_pause } => {
                        waiting = Some(Waiting::join(waiting, anchor, hold, hold_in_pause));
                        continue;
                    }
                    Verdict::Hit(hit) => hit,
                };
                if hit.start < place.floor || self.allows(&hit, view) {
                    continue;
                }
                match &mut cluster {
                    None => cluster = Some(Cluster { hit, first_anchor: anchor }),
                    Some(earlier) if hit.end <= earlier.hit.start => {
                        later = later.min(earlier.first_anchor);
                        cluster = Some(Cluster { hit, first_anchor: anchor });
                    }
                    Some(earlier) if hit.start >= earlier.hit.end => later = later.min(anchor),
                    Some(earlier) => earlier.merge(hit, anchor),
                }
            }
        }
        match (waiting, cluster) {
            (None, None) => Step::Clear,
            (None, Some(Cluster { hit: Hit { rule, start, end, tail, .. }, .. })) => {
                Step::Withhold { rule, start, end, tail, scan: end.min(later) }
            }
            (Some(waiting), None) => waiting.step(),
            (Some(waiting), Some(Cluster { hit, first_anchor })) => {
                Waiting::join(Some(waiting), first_anchor.min(later), hit.start, hit.start).step()
            }
        }
    }

    /// What all sources say about the first anchor in `from..limit`; a mark comes first.
    fn first<'g>(
        &'g self,
        view: &View<'_>,
        kind: Kind,
        from: usize,
        place: Place,
        limit: usize,
        ahead: &mut Ahead<'g>,
    ) -> [Option<Candidate<'g>>; 3] {
        let behind = from.max(place.floor);
        let values = self.values.as_ref();
        let value = values.and_then(|values| ahead.values.first(behind, || values.next(view, behind)));
        let patterns = self.patterns.as_ref();
        let pattern =
            patterns.and_then(|patterns| ahead.patterns.first(behind, || patterns.next(view, behind)));
        let named = [value, pattern].into_iter().flatten().map(|candidate| candidate.anchor).min();
        let limit = named.map_or(limit, |anchor| limit.min(anchor.saturating_add(1)));
        let known = self.known.next(view, kind, from, limit);
        let first = known.map_or(limit, |candidate| candidate.anchor + 1);
        [known, value, pattern].map(|candidate| {
            candidate.filter(|candidate| {
                candidate.anchor < first && known.is_none_or(|known| candidate.anchor == known.anchor)
            })
        })
    }

    fn allows(&self, hit: &Hit<'_>, view: &View<'_>) -> bool {
        hit.surety != crate::found::Surety::Value && self.allowed.passes(&view.bytes[hit.start..hit.end])
    }
}

impl Waiting {
    fn step<'g>(self) -> Step<'g> {
        Step::Wait { scan: self.scan, hold: self.hold, hold_in_pause: self.hold_in_pause }
    }
}

impl<'g> Cluster<'g> {
    fn merge(&mut self, hit: Hit<'g>, anchor: usize) {
        let mine = &mut self.hit;
        if hit.surety > mine.surety {
            (mine.rule, mine.surety) = (hit.rule, hit.surety);
        }
        if hit.end > mine.end || (hit.end == mine.end && mine.tail.is_none()) {
            (mine.end, mine.tail) = (hit.end, hit.tail);
        }
        mine.start = mine.start.min(hit.start);
        self.first_anchor = self.first_anchor.min(anchor);
    }
}
