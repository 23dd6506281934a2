//! Finds where words stand, many bytes a step. Owns its table.
//!
//! Letters fall into 32 classes in which case does not count, and of each word two *windows* of three letters are
//! known, one place apart. One of the two begins at an even distance from where a search began, so only every
//! second place is looked up, and a window that is rare in what programs print is chosen for each word. A table
//! over all windows says which words to compare; most places ask for none. The letter in the middle also tells
//! letters from signs and digits, or `:` would be taken for `z`. The loop over the places of a block has no
//! branches, and compilers compute its windows as a vector.

use std::collections::BTreeSet;
use std::ops::Range;

/// Places are looked up in blocks of this many bytes.
const BLOCK: usize = 16;
/// A block and the rest of its last window.
const BLOCK_READ: usize = BLOCK + 2;
/// Bits of the class of one letter.
const CLASS_BITS: u32 = 5;
/// Letters in a window.
const WINDOW: usize = 3;
/// All windows: three classes, and whether the letter in the middle is from the upper half of ASCII.
const WINDOWS: usize = 1 << (CLASS_BITS * 3 + 1);
/// Sets the bit in which upper and lower case differ, in four bytes.
const FOLD: u32 = 0x2020_2020;

/// How often a class comes in a thousand letters of logs, prose and code: the blank, `a` to `z`, and the others.
const COMMON: [u16; 1 << CLASS_BITS] = [
    217, 41, 36, 20, 24, 75, 16, 12, 28, 47, 29, 5, 42, 20, 51, 44, 23, 6, 44, 45, 59, 22, 6, 9, 5, 6, 21,
    15, 5, 14, 3, 11,
];

/// A word whose window may begin at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Guess {
    word: usize,
    /// From the beginning of the word to that of the window.
    offset: isize,
    /// The first four letters without case, and which of them the word has.
    head: u32,
    has: u32,
}

impl Guess {
    /// Whether the first letters do not say otherwise.
    fn may_stand(&self, bytes: &[u8], start: usize) -> bool {
        let four = bytes.get(start..).and_then(|here| here.first_chunk());
        four.is_none_or(|&four| (u32::from_le_bytes(four) | FOLD) & self.has == self.head)
    }
}

/// The words, and the table of their windows.
#[derive(Debug)]
pub(crate) struct Sieve {
    words: Vec<&'static str>,
    /// By window: which of the `guesses` to compare, none at 0.
    table: Box<[u8; WINDOWS]>,
    guesses: Vec<Vec<Guess>>,
    /// How far behind the beginning of a word its windows may begin, and one more.
    reach: usize,
}

impl Sieve {
    /// A sieve for words of two letters or more, none of which begins another.
    #[expect(clippy::large_stack_arrays, reason = "64 KiB, once; a slice would check bounds at every place")]
    pub(crate) fn new(words: impl IntoIterator<Item = &'static str>) -> Self {
        let words: Vec<_> = words.into_iter().collect();
        let mut table = Box::new([0; WINDOWS]);
        let mut guesses = vec![Vec::new()];
        let mut reach = 0;
        for (word, text) in words.iter().enumerate() {
            let first = rarest(text.as_bytes());
            let four = |index: usize| text.as_bytes().get(index).copied();
            let has = u32::from_le_bytes([0, 1, 2, 3].map(|index| four(index).map_or(0, |_| u8::MAX)));
            let head = u32::from_le_bytes([0, 1, 2, 3].map(|index| four(index).unwrap_or_default()));
            let head = (head | FOLD) & has;
            for offset in [first, first + 1] {
                for window in windows(text.as_bytes(), offset).into_iter().map(usize::from) {
                    let mut all = guesses[usize::from(table[window])].clone();
                    all.push(Guess { word, offset, head, has });
                    table[window] = number_of(all, &mut guesses);
                }
            }
            reach = reach.max((first + 2).unsigned_abs());
        }
        Self { words, table, guesses, reach }
    }

    /// The first word that begins in `from..limit` and is all there: where it begins, and which it is.
    pub(crate) fn next(&self, bytes: &[u8], from: usize, mut limit: usize) -> Option<(usize, usize)> {
        let mut first = None;
        let mut at = from;
        loop {
            let until = bytes.len().min(limit.saturating_add(self.reach));
            at = self.skip(bytes, at, until);
            if at >= until {
                return first;
            }
            let windows = windows_from(bytes, at);
            // An earlier word may have its windows behind those of a later one.
            if let Some(earlier) = self.judge(bytes, at, &windows, from..limit) {
                (first, limit) = (Some(earlier), earlier.0);
            }
            at += BLOCK;
        }
    }

    /// Skips whole blocks that ask for no guess.
    fn skip(&self, bytes: &[u8], mut at: usize, until: usize) -> usize {
        while at < until
            && let Some(block) = bytes[at..].first_chunk()
            && windows_of(block).iter().fold(0, |any, &window| any | self.look_up(window)) == 0
        {
            at += BLOCK;
        }
        at
    }

    /// Which guesses a window asks for.
    fn look_up(&self, window: u16) -> u8 {
        self.table[usize::from(window)]
    }

    /// The first word that begins in `range` and of which one of the `windows` from `at` on is.
    fn judge(
        &self,
        bytes: &[u8],
        at: usize,
        windows: &[u16],
        mut range: Range<usize>,
    ) -> Option<(usize, usize)> {
        let mut first = None;
        for (place, &window) in (at..).step_by(2).zip(windows) {
            let guesses = self.look_up(window);
            if guesses == 0 {
                continue;
            }
            for guess in &self.guesses[usize::from(guesses)] {
                let start = place.wrapping_add_signed(-guess.offset);
                if range.contains(&start)
                    && guess.may_stand(bytes, start)
                    && self.stands(guess.word, bytes, start)
                {
                    (first, range.end) = (Some((start, guess.word)), start);
                }
            }
        }
        first
    }

    fn stands(&self, word: usize, bytes: &[u8], start: usize) -> bool {
        let word = self.words[word].as_bytes();
        let here = bytes.get(start..).and_then(|here| here.get(..word.len()));
        here.is_some_and(|here| here.eq_ignore_ascii_case(word))
    }
}

/// The windows at every second place from `at` on.
fn windows_from(bytes: &[u8], at: usize) -> [u16; BLOCK / 2] {
    let rest = &bytes[at..];
    rest.first_chunk().map_or_else(
        || {
            let mut padded = [0; BLOCK_READ];
            padded[..rest.len()].copy_from_slice(rest);
            windows_of(&padded)
        },
        windows_of,
    )
}

fn windows_of(block: &[u8; BLOCK_READ]) -> [u16; BLOCK / 2] {
    let (pairs, _) = block[..BLOCK].as_chunks();
    let (following, _) = block[2..].as_chunks();
    let mut windows = [0; BLOCK / 2];
    for ((window, &pair), &next) in windows.iter_mut().zip(pairs).zip(following) {
        *window = window_of(u16::from_le_bytes(pair), u16::from_le_bytes(next));
    }
    windows
}

/// The window whose first two letters are `pair` and whose third is the first of `next`.
const fn window_of(pair: u16, next: u16) -> u16 {
    (pair & 0x1f) | ((pair >> 3) & 0x3e0) | ((next & 0x1f) << 10) | ((pair & 0x4000) << 1)
}

/// Where the first of the two windows begins that come least often; it may hang over at both ends of a short word.
fn rarest(word: &[u8]) -> isize {
    let common = |offset: isize| -> u64 {
        letters(word, offset)
            .map(|letter| letter.map_or(1000, |letter| u64::from(COMMON[usize::from(letter & 0x1f)])))
            .iter()
            .product()
    };
    let last = word.len().cast_signed() - 3;
    (-1..=last.max(-1)).min_by_key(|&offset| common(offset) + common(offset + 1)).unwrap_or(-1)
}

/// The letters of a window, where the word has any.
fn letters(word: &[u8], offset: isize) -> [Option<u8>; WINDOW] {
    [0, 1, 2].map(|index| usize::try_from(offset + index).ok().and_then(|index| word.get(index).copied()))
}

/// All windows with these letters and any others where the word has none.
fn windows(word: &[u8], offset: isize) -> BTreeSet<u16> {
    let choices = letters(word, offset).map(|letter| letter.map_or(0..=0x7f, |letter| letter..=letter));
    let [first, second, third] = choices;
    let mut windows = BTreeSet::new();
    for (one, two) in first.flat_map(|one| second.clone().map(move |two| (one, two))) {
        for three in third.clone() {
            windows.insert(window_of(u16::from_le_bytes([one, two]), u16::from(three)));
        }
    }
    windows
}

/// The number of a set of guesses; when numbers run out, one stands for several sets.
fn number_of(all: Vec<Guess>, guesses: &mut Vec<Vec<Guess>>) -> u8 {
    let known = guesses.iter().position(|known| *known == all);
    if let Some(number) = known.and_then(|number| u8::try_from(number).ok()) {
        return number;
    }
    if u8::try_from(guesses.len()).is_ok() {
        guesses.push(all);
    } else if let Some(last) = guesses.last_mut() {
        let missing: Vec<_> = all.into_iter().filter(|guess| !last.contains(guess)).collect();
        last.extend(missing);
    }
    u8::try_from(guesses.len() - 1).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    const WORDS: [&str; 8] =
        [":a", "sk-", "://", "eyJ", "token", "_pass", "hooks.slack.com/services/", "AKIA"];

    /// The same by comparing every word with every place.
    fn plainly(bytes: &[u8], from: usize, limit: usize) -> Option<(usize, usize)> {
        (from..limit.min(bytes.len())).find_map(|start| {
            let here = |word: &&str| {
                let here = bytes[start..].get(..word.len());
                here.is_some_and(|here| here.eq_ignore_ascii_case(word.as_bytes()))
            };
            WORDS.iter().position(here).map(|word| (start, word))
        })
    }

    proptest! {
        #[test]
        fn a_word_is_found_wherever_it_stands(
            parts in vec(
                prop_oneof![
                    select(WORDS.to_vec()).prop_map(|word| word.as_bytes().to_vec()),
                    select(WORDS.to_vec()).prop_map(|word| word.to_ascii_uppercase().into_bytes()),
                    vec(any::<u8>(), 0..40),
                    vec(select(b"tokenskpas:/-_AIeyJ ".to_vec()), 0..20),
                ],
                0..12,
            ),
            from in 0_usize..80,
            limit in prop_oneof![Just(usize::MAX), 0_usize..200],
        ) {
            let bytes = parts.concat();
            prop_assert_eq!(Sieve::new(WORDS).next(&bytes, from, limit), plainly(&bytes, from, limit));
        }
    }

    #[test]
    fn when_numbers_run_out_nothing_is_lost() {
        let words: Vec<&'static str> = (0..900_u32)
            .map(|word| -> &'static str {
                let letter = |shift: u32| char::from(b'a' + u8::try_from(word / shift % 26).unwrap());
                String::leak(format!("{}{}{}x", letter(1), letter(26), letter(3)))
            })
            .collect();
        let sieve = Sieve::new(words.iter().copied());
        for word in &words {
            let found = sieve.next(format!("  {word}").as_bytes(), 0, usize::MAX);
            assert_eq!(found.map(|(start, found)| (start, words[found])), Some((2, *word)));
        }
    }
}
