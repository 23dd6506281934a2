//! What the sources of a scan report. Values only.

use crate::pem::Pem;
use crate::probe::{Alphabet, More, View};

/// How sure a source is; the surest names the mark that is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Surety {
    /// A name and a value that looks like a secret.
    Guess,
    /// A pattern of the user.
    Pattern,
    /// A known key format.
    Format,
    /// A value that was named.
    Value,
}

/// Bytes to withhold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hit<'g> {
    pub(crate) rule: &'g str,
    pub(crate) surety: Surety,
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// What still belongs to the secret behind `end`.
    pub(crate) tail: Option<Tail>,
}

/// The rest of a secret that is longer than the window; it is withheld as it comes and never held back.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tail {
    /// As long as the bytes are of this alphabet.
    Run(Alphabet),
    /// The body of a private key.
    Pem(Pem),
}

impl Tail {
    /// Advances over what belongs to the secret: where that ends, and whether it is all.
    pub(crate) fn advance(&mut self, view: &View<'_>, from: usize) -> (usize, bool) {
        match self {
            Self::Run(alphabet) => {
                let length = view.bytes[from..].iter().position(|&byte| !alphabet(byte));
                length.map_or((view.bytes.len(), view.ended), |length| (from + length, true))
            }
            Self::Pem(pem) => pem.advance(view, from),
        }
    }
}

/// What stands at an anchor.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Verdict<'g> {
    Hit(Hit<'g>),
    /// Undecided until more arrives.
    Waiting {
        /// From here on it may be secret.
        hold: usize,
        /// From here on it may be secret even when what is public in a format is shown: a pause holds only that.
        hold_in_pause: usize,
    },
    /// A mark of an earlier redaction, to be left as it is.
    Mark {
        end: usize,
    },
}

/// The first thing a source has to say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate<'g> {
    pub(crate) anchor: usize,
    pub(crate) verdict: Verdict<'g>,
}

/// What a matcher says about one anchor.
pub(crate) type Answer<'g> = Result<Option<Hit<'g>>, (More, usize)>;

/// Ties [`More`] to the place from which the bytes may be secret.
pub(crate) trait HoldFrom<T> {
    /// On [`More`], what begins at `index` stays held.
    fn hold_from(self, index: usize) -> Result<T, (More, usize)>;
    /// On [`More`], nothing that is there can be secret yet.
    fn hold_nothing(self) -> Result<T, (More, usize)>;
}

impl<T> HoldFrom<T> for Result<T, More> {
    fn hold_from(self, index: usize) -> Result<T, (More, usize)> {
        self.map_err(|more| (more, index))
    }

    fn hold_nothing(self) -> Result<T, (More, usize)> {
        self.map_err(|more| (more, usize::MAX))
    }
}
