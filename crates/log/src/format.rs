//! The stored form of an event: a kind, a version and a JSON body.
//!
//! Old bodies decode for ever: when a shape changes, the version is raised and a step that turns
//! the older JSON into the newer one is added to [`decode`]. A newer version is refused, never guessed.

use co_model::Event;
use serde_json::Value;

/// The newest version this program writes, for every kind.
pub const FORMAT_VERSION: u32 = 1;

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

/// Encodes an event at the newest version.
///
/// # Errors
/// Never for events of this program: their maps have text keys and their numbers are finite.
pub fn encode(event: &Event) -> Result<StoredEvent, DecodeError> {
    let failed = |source| DecodeError::Body { kind: event.name().to_owned(), source };
    let body = match serde_json::to_value(event).map_err(failed)? {
        Value::Object(mut fields) => fields.remove("data").unwrap_or(Value::Null),
        other => other,
    };
    Ok(StoredEvent { kind: event.name().to_owned(), version: FORMAT_VERSION, body: body.to_string() })
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
    let failed = |source| DecodeError::Body { kind: kind.clone(), source };
    let data: Value = serde_json::from_str(body).map_err(failed)?;
    let mut fields = serde_json::Map::new();
    fields.insert("type".to_owned(), Value::String(kind.clone()));
    if !data.is_null() {
        fields.insert("data".to_owned(), data);
    }
    serde_json::from_value(Value::Object(fields)).map_err(failed)
}
