//! The user's own patterns. Owns their compiled forms.
//!
//! A stream may be cut within a match, so next to the patterns stands one more automaton: it accepts every
//! *beginning* of a match at the end of the text. Read backwards from the end it says in a few steps from where on
//! bytes must wait, and nothing else is held.
//!
//! The fast automata give up at a byte beyond ASCII when a pattern asks for the bounds of words in Unicode. There a
//! *scout* that takes all such bounds as met says where a match may begin, and only those places are asked.

use regex_automata::meta::{BuildError, Config, Regex};
use regex_automata::{Anchored, Input};
use regex_syntax::hir::{Class, ClassBytes, ClassBytesRange, Hir, HirKind, Look, Repetition};

use crate::found::{Candidate, Hit, Surety, Verdict};
use crate::probe::{View, WINDOW};
use crate::settings::{GuardError, NamedPattern};

/// The longest text of a pattern.
const LONGEST_TEXT: usize = 1024;
/// The most patterns of one kind.
const MOST: usize = 64;
/// What one compiled pattern may take, in bytes.
const LARGEST: usize = 1 << 20;

/// The patterns of one guard.
#[derive(Debug)]
pub(crate) struct Patterns {
    names: Vec<String>,
    whole: Regex,
    beginning: Regex,
    /// Finds every match and more; there if a pattern asks for bounds of words in Unicode.
    scout: Option<Regex>,
}

impl Patterns {
    /// Compiles `patterns`; `None` if there are none.
    pub(crate) fn new(patterns: &[NamedPattern]) -> Result<Option<Self>, GuardError> {
        let parsed = parse_all(patterns)?;
        if parsed.is_empty() {
            return Ok(None);
        }
        for (pattern, hir) in patterns.iter().zip(&parsed) {
            for single in [hir.clone(), at_end(beginning(hir))] {
                let failed = |source| GuardError::PatternTooLarge { name: pattern.name.clone(), source };
                compile(&[single], 1).map_err(failed)?;
            }
        }
        let beginnings = Hir::alternation(parsed.iter().map(beginning).collect());
        let failed = |source| GuardError::Patterns { source };
        let whole = compile(&parsed, parsed.len()).map_err(failed)?;
        let beginning = compile(&[at_end(beginnings)], parsed.len()).map_err(failed)?;
        let slow = parsed.iter().any(|hir| hir.properties().look_set().contains_word_unicode());
        let without_looks = || Hir::alternation(parsed.iter().map(without_look).collect());
        let scout = slow.then(|| compile(&[without_looks()], parsed.len())).transpose().map_err(failed)?;
        let names = patterns.iter().map(|pattern| pattern.name.clone()).collect();
        Ok(Some(Self { names, whole, beginning, scout }))
    }

    /// The first match at or behind `from`, whole or cut off by the end of the view.
    pub(crate) fn next(&self, view: &View<'_>, from: usize) -> Option<Candidate<'_>> {
        let whole = self.whole(view, from);
        if let Some(begun) = self.cut_off(view, from)
            && whole.is_none_or(|hit| begun <= hit.start)
        {
            let verdict = Verdict::Waiting { hold: begun, hold_in_pause: begun };
            return Some(Candidate { anchor: begun, verdict });
        }
        whole.map(|hit| Candidate { anchor: hit.start, verdict: Verdict::Hit(hit) })
    }

    /// A match is what its pattern finds within the window: the same whether more has arrived or not.
    fn whole(&self, view: &View<'_>, mut from: usize) -> Option<Hit<'_>> {
        let rest = view.bytes.get(from..).unwrap_or_default();
        let scout = self.scout.as_ref().filter(|_| !rest.is_ascii());
        while from <= view.bytes.len() {
            let input = Input::new(view.bytes).range(from..);
            let found = match scout {
                Some(scout) => scout.search(&input)?,
                None => self.whole.search(&input)?,
            };
            let start = found.start();
            let found = if scout.is_some() || found.len() > WINDOW {
                let end = view.bytes.len().min(start + WINDOW);
                let window = Input::new(view.bytes).span(start..end).anchored(Anchored::Yes);
                self.whole.search(&window)
            } else {
                Some(found)
            };
            let Some(found) = found else {
                from = start + 1;
                continue;
            };
            let rule = self.names[found.pattern().as_usize()].as_str();
            let (start, end) = (found.start(), found.end());
            return Some(Hit { rule, surety: Surety::Pattern, start, end, tail: None });
        }
        None
    }

    fn cut_off(&self, view: &View<'_>, from: usize) -> Option<usize> {
        let length = view.bytes.len();
        let first = (length + 1).saturating_sub(WINDOW).max(from);
        if view.ended || first >= length {
            return None;
        }
        let begun = |end: usize| {
            let found = self.beginning.search(&Input::new(&view.bytes[..end]).range(first.min(end)..))?;
            Some(found.start()).filter(|&start| start < end)
        };
        // Whether a word ends before a letter is known once all of the letter is there.
        let letters = length - cut_off_bytes(view.bytes);
        let before = if self.scout.is_some() && letters < length { begun(letters) } else { None };
        before.into_iter().chain(begun(length)).min()
    }
}

/// How many bytes at the end are the beginning of a letter that takes more.
fn cut_off_bytes(bytes: &[u8]) -> usize {
    let end = &bytes[bytes.len().saturating_sub(3)..];
    let first = end.iter().rposition(|byte| !matches!(byte, 0x80..=0xbf));
    first.map_or(0, |first| match (end[first], end.len() - first) {
        (0xc2..=0xdf, 1) => 1,
        (0xe0..=0xef, there @ 1..=2) | (0xf0..=0xf4, there) => there,
        _ => 0,
    })
}

/// What may pass although it looks like a secret.
#[derive(Debug)]
pub(crate) struct Allowed {
    whole: Option<Regex>,
}

impl Allowed {
    pub(crate) fn new(patterns: &[NamedPattern]) -> Result<Self, GuardError> {
        let parsed = parse_all(patterns)?;
        if parsed.is_empty() {
            return Ok(Self { whole: None });
        }
        let count = parsed.len();
        let whole = Hir::concat(vec![Hir::look(Look::Start), Hir::alternation(parsed), Hir::look(Look::End)]);
        let failed = |source| GuardError::Patterns { source };
        Ok(Self { whole: Some(compile(&[whole], count).map_err(failed)?) })
    }

    /// Whether one pattern matches all of `secret`.
    pub(crate) fn passes(&self, secret: &[u8]) -> bool {
        self.whole.as_ref().is_some_and(|whole| whole.is_match(secret))
    }
}

fn parse_all(patterns: &[NamedPattern]) -> Result<Vec<Hir>, GuardError> {
    if patterns.len() > MOST {
        return Err(GuardError::TooManyPatterns { count: patterns.len(), most: MOST });
    }
    patterns.iter().map(parse).collect()
}

fn parse(pattern: &NamedPattern) -> Result<Hir, GuardError> {
    let name = || pattern.name.clone();
    if pattern.text.len() > LONGEST_TEXT {
        return Err(GuardError::PatternTooLong {
            name: name(),
            length: pattern.text.len(),
            longest: LONGEST_TEXT,
        });
    }
    let hir = regex_syntax::ParserBuilder::new()
        .utf8(false)
        .multi_line(true)
        .nest_limit(48)
        .build()
        .parse(&pattern.text)
        .map_err(|source| GuardError::Pattern { name: name(), source: Box::new(source) })?;
    let looks = hir.properties().look_set();
    if looks.contains(Look::Start) || looks.contains(Look::End) {
        return Err(GuardError::PatternAnchored { name: name() });
    }
    if hir.properties().minimum_len().is_none_or(|length| length == 0) {
        return Err(GuardError::PatternEmpty { name: name() });
    }
    Ok(hir)
}

fn compile(hirs: &[Hir], share: usize) -> Result<Regex, Box<BuildError>> {
    let config = Config::new()
        .utf8_empty(false)
        .nfa_size_limit(Some(LARGEST * share))
        .hybrid_cache_capacity(LARGEST * 2);
    Regex::builder().configure(config).build_many_from_hir(hirs).map_err(Box::new)
}

fn at_end(hir: Hir) -> Hir {
    Hir::concat(vec![hir, Hir::look(Look::End)])
}

/// A pattern for every beginning of what `hir` matches, the empty one and all of it included.
///
/// What looks around is taken as met: that holds a byte too many at worst, never one too few.
fn beginning(hir: &Hir) -> Hir {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Hir::empty(),
        HirKind::Class(_) if hir.properties().maximum_len() == Some(1) => optional(hir.clone()),
        HirKind::Class(_) => Hir::alternation(vec![optional(hir.clone()), cut_off_letter()]),
        HirKind::Literal(literal) if literal.0.len() == 1 => optional(hir.clone()),
        HirKind::Literal(literal) => {
            let bytes: Vec<Hir> = literal.0.iter().map(|&byte| Hir::literal([byte])).collect();
            beginning_of_all(&bytes)
        }
        HirKind::Capture(capture) => beginning(&capture.sub),
        HirKind::Alternation(choices) => Hir::alternation(choices.iter().map(beginning).collect()),
        HirKind::Concat(parts) => beginning_of_all(parts),
        HirKind::Repetition(repetition) => {
            let max = repetition.max.map(|max| max.saturating_sub(1));
            let sub = Box::new(without_look(&repetition.sub));
            let before = Hir::repetition(Repetition { min: 0, max, greedy: true, sub });
            Hir::concat(vec![before, beginning(&repetition.sub)])
        }
    }
}

/// Halves the parts, so that the depth stays that of a logarithm.
fn beginning_of_all(parts: &[Hir]) -> Hir {
    match parts {
        [] => Hir::empty(),
        [one] => beginning(one),
        _ => {
            let (left, right) = parts.split_at(parts.len() / 2);
            let passed = Hir::concat(left.iter().map(without_look).collect());
            Hir::alternation(vec![beginning_of_all(left), Hir::concat(vec![passed, beginning_of_all(right)])])
        }
    }
}

fn without_look(hir: &Hir) -> Hir {
    match hir.kind() {
        HirKind::Look(_) => Hir::empty(),
        HirKind::Empty | HirKind::Class(_) | HirKind::Literal(_) => hir.clone(),
        HirKind::Capture(capture) => without_look(&capture.sub),
        HirKind::Alternation(choices) => Hir::alternation(choices.iter().map(without_look).collect()),
        HirKind::Concat(parts) => Hir::concat(parts.iter().map(without_look).collect()),
        HirKind::Repetition(repetition) => {
            Hir::repetition(Repetition { sub: Box::new(without_look(&repetition.sub)), ..repetition.clone() })
        }
    }
}

fn optional(hir: Hir) -> Hir {
    Hir::repetition(Repetition { min: 0, max: Some(1), greedy: true, sub: Box::new(hir) })
}

/// The first bytes of any letter that takes several.
fn cut_off_letter() -> Hir {
    let bytes = |first, last| Hir::class(Class::Bytes(ClassBytes::new([ClassBytesRange::new(first, last)])));
    let following = Repetition { min: 0, max: Some(2), greedy: true, sub: Box::new(bytes(0x80, 0xbf)) };
    Hir::concat(vec![bytes(0xc2, 0xf4), Hir::repetition(following)])
}
