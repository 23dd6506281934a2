//! Finds what is recognisable without settings: one sieve over all anchors, one matcher behind each.
//!
//! Most bytes are seen by the sieve alone. No anchor begins another, so at most one stands at a place.

use std::collections::BTreeSet;

use crate::formats::{FORMATS, Format};
use crate::found::{Answer, Candidate, Verdict};
use crate::mark::{self, Marks};
use crate::names::{self, Strength};
use crate::probe::View;
use crate::settings::Kind;
use crate::sieve::Sieve;
use crate::{assigned, credentials, pem};

/// What an anchor announces.
#[derive(Debug, Clone, Copy)]
enum Matcher {
    Mark,
    Format(&'static Format),
    Pem,
    Url,
    Header,
    Bearer,
    Assigned(&'static str, Strength),
}

/// The anchors and their sieve.
#[derive(Debug)]
pub(crate) struct Known {
    anchors: Vec<(&'static str, Matcher)>,
    sieve: Sieve,
    /// Which anchors begin with a byte, in either case.
    by_first: Vec<Vec<usize>>,
    longest: usize,
    marks: Marks,
}

impl Known {
    pub(crate) fn new(marks: Marks) -> Self {
        let anchors = anchors();
        let sieve = Sieve::new(anchors.iter().map(|&(anchor, _)| anchor));
        let mut by_first = vec![Vec::new(); usize::from(u8::MAX) + 1];
        for (index, (anchor, _)) in anchors.iter().enumerate() {
            let first = anchor.as_bytes()[0];
            let cases = BTreeSet::from([first.to_ascii_lowercase(), first.to_ascii_uppercase()]);
            for case in cases {
                by_first[usize::from(case)].push(index);
            }
        }
        let longest = anchors.iter().map(|(anchor, _)| anchor.len()).max().unwrap_or_default();
        Self { anchors, sieve, by_first, longest, marks }
    }

    /// The names of the rules.
    pub(crate) fn rules() -> impl Iterator<Item = &'static str> {
        let others = [
            assigned::RULE,
            "authorization",
            "url-password",
            "private-key",
            "anthropic-key",
            "openrouter-key",
        ];
        FORMATS.iter().map(|format| format.name).chain(others)
    }

    /// The first anchor in `from..limit` that stands for something or may come to.
    pub(crate) fn next(
        &self,
        view: &View<'_>,
        kind: Kind,
        from: usize,
        limit: usize,
    ) -> Option<Candidate<'_>> {
        let whole = self.whole(view, kind, from, limit);
        let limit = whole.map_or(limit, |candidate| candidate.anchor);
        self.cut_off(view, kind, from, limit).or(whole)
    }

    fn whole(&self, view: &View<'_>, kind: Kind, mut from: usize, limit: usize) -> Option<Candidate<'_>> {
        while let Some((anchor, index)) = self.sieve.next(view.bytes, from, limit) {
            let (text, matcher) = self.anchors[index];
            if let Some(verdict) = self.judge(view, kind, anchor, anchor + text.len(), matcher) {
                return Some(Candidate { anchor, verdict });
            }
            from = anchor + 1;
        }
        None
    }

    fn judge(
        &self,
        view: &View<'_>,
        kind: Kind,
        anchor: usize,
        end: usize,
        matcher: Matcher,
    ) -> Option<Verdict<'_>> {
        let answer: Answer<'_> = match matcher {
            Matcher::Mark => match self.marks.find(view, anchor) {
                Ok(mark) => return mark,
                Err(more) => Err(more),
            },
            Matcher::Format(format) => format.find(view, anchor),
            Matcher::Pem => pem::find(view, anchor),
            Matcher::Url => credentials::in_url(view, end),
            Matcher::Header => credentials::in_header(view, end),
            Matcher::Bearer => credentials::bearer(view, end),
            Matcher::Assigned(..) if kind == Kind::Source => Ok(None),
            Matcher::Assigned(word, strength) => assigned::find(view, anchor, word, strength),
        };
        match answer {
            Ok(hit) => hit.map(Verdict::Hit),
            Err((_, hold)) => Some(Verdict::Waiting { hold, hold_in_pause: hold }),
        }
    }

    /// The first anchor that the end of the view cuts off.
    fn cut_off(&self, view: &View<'_>, kind: Kind, from: usize, limit: usize) -> Option<Candidate<'_>> {
        if view.ended {
            return None;
        }
        let first = view.bytes.len().saturating_sub(self.longest - 1).max(from);
        (first..view.bytes.len().min(limit)).find_map(|at| {
            let rest = &view.bytes[at..];
            let mut holds = self.by_first[usize::from(rest[0])].iter().filter_map(|&index| {
                let (anchor, matcher) = self.anchors[index];
                let start = anchor.as_bytes().get(..rest.len()).filter(|_| rest.len() < anchor.len())?;
                start.eq_ignore_ascii_case(rest).then(|| matcher.hold(view, kind, at, start == rest))?
            });
            let first = holds.next()?;
            let hold = holds.fold(first, usize::min);
            Some(Candidate { anchor: at, verdict: Verdict::Waiting { hold, hold_in_pause: usize::MAX } })
        })
    }
}

impl Matcher {
    /// From where on bytes are to be held when the anchor at `at` is cut off; `None` if it cannot become one.
    fn hold(self, view: &View<'_>, kind: Kind, at: usize, same_case: bool) -> Option<usize> {
        match self {
            Self::Format(format) if !same_case || !format.may_begin(view, at) => None,
            Self::Mark if !same_case => None,
            Self::Assigned(..) if kind == Kind::Source => None,
            Self::Format(format) if format.keeps_prefix() => Some(usize::MAX),
            Self::Format(_) | Self::Mark | Self::Pem => Some(at),
            Self::Url | Self::Header | Self::Bearer | Self::Assigned(..) => Some(usize::MAX),
        }
    }
}

fn anchors() -> Vec<(&'static str, Matcher)> {
    let mut anchors = vec![
        (mark::OPENING, Matcher::Mark),
        (pem::ANCHOR, Matcher::Pem),
        (credentials::AUTHORIZATION, Matcher::Header),
        (credentials::BEARER, Matcher::Bearer),
    ];
    anchors.extend(credentials::AUTHORITIES.map(|authority| (authority, Matcher::Url)));
    anchors.extend(FORMATS.iter().map(|format| (format.prefix, Matcher::Format(format))));
    anchors.extend(names::WORDS.iter().map(|&(word, strength)| (word, Matcher::Assigned(word, strength))));
    anchors
}

#[cfg(test)]
mod tests {
    use super::anchors;

    #[test]
    fn no_anchor_begins_another() {
        let anchors = anchors();
        for (index, (one, _)) in anchors.iter().enumerate() {
            for (other, _) in &anchors[index + 1..] {
                let length = one.len().min(other.len());
                assert!(!one[..length].eq_ignore_ascii_case(&other[..length]), "`{one}` and `{other}`");
            }
        }
    }
}
