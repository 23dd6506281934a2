//! Instants and durations as the log stores them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// An instant in milliseconds since the Unix epoch; shown as RFC 3339 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Makes an instant from milliseconds since the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The instant `duration` later; saturates.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this is; zero when the clock jumped back.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(instant) => write!(f, "{instant:.3}"),
            Err(_) => write!(f, "@{}ms", self.0),
        }
    }
}

/// Says why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a duration; write a number with a unit, as in `500ms`, `1.5s`, `10m` or `2h`")]
pub struct DurationTextError {
    /// The refused text.
    pub text: String,
}

/// A duration as people write it: `500ms`, `1.5s`, `10m`, `2h`. Kept to the millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DurationText(pub Duration);

impl FromStr for DurationText {
    type Err = DurationTextError;

    fn from_str(text: &str) -> Result<Self, DurationTextError> {
        let refuse = || DurationTextError { text: text.to_owned() };
        let text_trimmed = text.trim();
        let split = text_trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(refuse)?;
        let (number, unit) = text_trimmed.split_at(split);
        let seconds_per_unit = match unit.trim() {
            "ms" => 0.001,
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            _ => return Err(refuse()),
        };
        let amount: f64 = number.parse().map_err(|_| refuse())?;
        let seconds = amount * seconds_per_unit;
        let longest = 366.0 * 24.0 * 3600.0;
        if !seconds.is_finite() || seconds > longest {
            return Err(refuse());
        }
        let duration = Duration::try_from_secs_f64(seconds).map_err(|_| refuse())?;
        let millis = u64::try_from(duration.as_millis()).map_err(|_| refuse())?;
        Ok(Self(Duration::from_millis(millis)))
    }
}

impl fmt::Display for DurationText {
    /// Short and readable: `12ms`, `1.5s`, `2m 05s`, `3h 07m`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let seconds = self.0.as_secs();
        match millis {
            0..1_000 => write!(f, "{millis}ms"),
            1_000..60_000 => write!(f, "{}.{}s", seconds, millis % 1_000 / 100),
            60_000..3_600_000 => write!(f, "{}m {:02}s", seconds / 60, seconds % 60),
            _ => write!(f, "{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
        }
    }
}

/// Durations stored as whole milliseconds.
pub(crate) mod millis {
    use super::Duration;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

/// Optional durations stored as whole milliseconds or null.
pub(crate) mod optional_millis {
    use super::Duration;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "serde's `with` passes a reference to the field")]
    pub(crate) fn serialize<S: Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        let parse = |text: &str| text.parse::<DurationText>().map(|d| d.0.as_millis());
        assert_eq!(parse("1.5s"), Ok(1_500));
        assert_eq!(parse("10m"), Ok(600_000));
        assert_eq!(parse("250 ms"), Ok(250));
        for bad in ["", "10", "s", "-1s", "1e3s", "1.2.3s", "5 years", "99999999h", "NaNs"] {
            assert!(parse(bad).is_err(), "{bad:?} must be refused");
        }
    }

    #[test]
    fn a_clock_that_jumps_back_gives_zero() {
        let (early, late) = (Timestamp::from_millis(1_000), Timestamp::from_millis(5_000));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(late.since(early), Duration::from_secs(4));
        assert_eq!(Timestamp::from_millis(0).to_string(), "1970-01-01T00:00:00.000Z");
    }
}
