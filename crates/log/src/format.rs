//! The stored form of an event: a kind, a version and a JSON body.
//!
//! Old bodies decode for ever: when a shape changes, the version is raised and a step that turns
//! the older JSON into the newer one is added to [`decode`]. A newer version is refused, never guessed.

use co_model::Event;
use serde::de::{Error as _, IgnoredAny};

/// The newest version this program writes, for every kind.
pub const FORMAT_VERSION: u32 = 1;

/// The body of an event that carries nothing.
const NO_DATA: &str = "null";

/// An event as a store keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// The event's name, as [`Event::name`] gives it.
    pub kind: String,
    /// The version of its body.
    pub version: u32,
    /// The body, JSON.
    pub body: String,
}

/// Says why a stored event cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Written by a newer program.
    #[error("event `{kind}` has version {version}; this program reads up to {FORMAT_VERSION}")]
    TooNew {
        /// The event's name.
        kind: String,
        /// Its version.
        version: u32,
    },
    /// The body does not fit the kind.
    #[error("event `{kind}` is damaged or unknown")]
    Body {
        /// The event's name.
        kind: String,
        /// What the parser found.
        #[source]
        source: serde_json::Error,
    },
}

/// Encodes an event at the newest version. Keeps the order of maps, as views are rebuilt from it.
///
/// # Errors
/// Never for events of this program: their maps have text keys and their numbers are finite.
pub fn encode(event: &Event) -> Result<StoredEvent, DecodeError> {
    let kind = event.name();
    let tagged = serde_json::to_string(event).map_err(|source| body_error(kind, source))?;
    // serde writes `{"type":"<kind>","data":<body>}`, and no data for an event that carries nothing.
    let fields =
        tagged.strip_prefix(&format!(r#"{{"type":"{kind}""#)).and_then(|rest| rest.strip_suffix('}'));
    let body = match fields {
        Some("") => NO_DATA,
        Some(fields) => fields.strip_prefix(r#","data":"#).unwrap_or(fields),
        None => return Err(body_error(kind, serde_json::Error::custom("its name is not its tag"))),
    };
    Ok(StoredEvent { kind: kind.to_owned(), version: FORMAT_VERSION, body: body.to_owned() })
}

/// Decodes an event of any version up to [`FORMAT_VERSION`].
///
/// # Errors
/// [`DecodeError::TooNew`] for a newer version, [`DecodeError::Body`] for what does not parse.
pub fn decode(stored: &StoredEvent) -> Result<Event, DecodeError> {
    let StoredEvent { kind, version, body } = stored;
    if *version > FORMAT_VERSION {
        return Err(DecodeError::TooNew { kind: kind.clone(), version: *version });
    }
    let read = || -> serde_json::Result<Event> {
        // A damaged body must not reach out of its place in the text below.
        serde_json::from_str::<IgnoredAny>(body)?;
        let kind = serde_json::to_string(kind)?;
        let tagged = match body.as_str() {
            NO_DATA => format!(r#"{{"type":{kind}}}"#),
            _ => format!(r#"{{"type":{kind},"data":{body}}}"#),
        };
        serde_json::from_str(&tagged)
    };
    read().map_err(|source| body_error(kind, source))
}

fn body_error(kind: &str, source: serde_json::Error) -> DecodeError {
    DecodeError::Body { kind: kind.to_owned(), source }
}
