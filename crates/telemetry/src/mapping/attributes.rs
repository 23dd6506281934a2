//! Attributes of spans, records and resources, in OTLP's types.

use std::time::Duration;

use co_model::Timestamp;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};

/// Longest text of one attribute, in bytes; cut at a character.
const LONGEST_TEXT: usize = 16 * 1024;

/// What an attribute can hold.
pub(crate) trait IntoValue {
    /// The value in OTLP's type.
    fn into_value(self) -> Value;
}

impl IntoValue for &str {
    fn into_value(self) -> Value {
        Value::StringValue(self[..self.floor_char_boundary(LONGEST_TEXT)].to_owned())
    }
}

impl IntoValue for bool {
    fn into_value(self) -> Value {
        Value::BoolValue(self)
    }
}

impl IntoValue for i64 {
    fn into_value(self) -> Value {
        Value::IntValue(self)
    }
}

impl IntoValue for i32 {
    fn into_value(self) -> Value {
        Value::IntValue(self.into())
    }
}

impl IntoValue for u32 {
    fn into_value(self) -> Value {
        Value::IntValue(self.into())
    }
}

impl IntoValue for u64 {
    fn into_value(self) -> Value {
        Value::IntValue(i64::try_from(self).unwrap_or(i64::MAX))
    }
}

/// One attribute.
pub(crate) fn key_value(key: &str, value: impl IntoValue) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value.into_value()) }),
        ..KeyValue::default()
    }
}

/// A list of attributes under construction.
#[derive(Debug, Clone, Default)]
pub(super) struct Attributes(Vec<KeyValue>);

impl Attributes {
    pub(super) fn with(mut self, key: &str, value: impl IntoValue) -> Self {
        self.0.push(key_value(key, value));
        self
    }

    pub(super) fn maybe(self, key: &str, value: Option<impl IntoValue>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    pub(super) fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    pub(super) fn done(self) -> Vec<KeyValue> {
        self.0
    }
}

/// Nanoseconds since the epoch, as OTLP counts.
pub(crate) fn nanos(at: Timestamp) -> u64 {
    u64::try_from(at.as_millis()).unwrap_or(0).saturating_mul(1_000_000)
}

/// Seconds, as metrics count.
pub(super) fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

/// The last part of a program's path.
pub(super) fn executable_name(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let long = "ä".repeat(LONGEST_TEXT);
        let Value::StringValue(text) = long.as_str().into_value() else { panic!("a text") };
        assert!(text.len() <= LONGEST_TEXT && text.chars().all(|c| c == 'ä'));
        let odd = format!("x{long}");
        let Value::StringValue(text) = odd.as_str().into_value() else { panic!("a text") };
        assert_eq!(text.len(), LONGEST_TEXT - 1);
    }

    #[test]
    fn a_program_is_named_without_its_folder() {
        assert_eq!(executable_name("/usr/bin/git"), "git");
        assert_eq!(executable_name("git"), "git");
    }
}
