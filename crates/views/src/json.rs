//! How views become text: one layout of JSON, one spelling of time.

use std::fmt;
use std::time::Duration;

use co_model::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An instant as documents spell it: RFC 3339 in UTC, to the millisecond. Sorts by time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Time(#[schemars(extend("format" = "date-time"))] String);

impl From<Timestamp> for Time {
    fn from(instant: Timestamp) -> Self {
        Self(instant.to_string())
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Writes a view as a file holds it: indented JSON with a line break at its end.
#[expect(clippy::expect_used, reason = "views have text keys only, and nothing in them refuses to serialize")]
pub fn to_json<T: Serialize>(view: &T) -> String {
    let mut text = serde_json::to_string_pretty(view).expect("a view is always JSON");
    text.push('\n');
    text
}

/// Writes a view as one line, without a line break.
#[expect(clippy::expect_used, reason = "views have text keys only, and nothing in them refuses to serialize")]
pub(crate) fn to_line<T: Serialize>(view: &T) -> String {
    serde_json::to_string(view).expect("a view is always JSON")
}

/// Whole milliseconds; saturates.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A length as counts are shown; saturates.
pub(crate) fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
