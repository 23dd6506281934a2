//! OTLP over HTTP: one POST per batch, as protobuf or as its JSON form.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;
use ureq::Agent;

use super::{Accepted, Failed};
use crate::http;
use crate::outbox::Batch;
use crate::settings::{Destination, Encoding, Signal};
use crate::throttle::Failure;

/// The way to one address.
#[derive(Debug)]
pub(crate) struct HttpLink {
    agent: Agent,
    to: Destination,
    encoding: Encoding,
}

impl HttpLink {
    pub(super) fn new(agent: Agent, to: &Destination, encoding: Encoding) -> Self {
        Self { agent, to: to.clone(), encoding }
    }

    pub(super) fn send(&self, signal: Signal, batch: &Batch) -> Result<Accepted, Failed> {
        let cannot_write =
            |message: String| Failed { worth_retrying: false, failure: Failure::default(), message };
        let (content_type, plain) = match self.encoding {
            Encoding::Binary => ("application/x-protobuf", batch.to_protobuf()),
            Encoding::Json => {
                ("application/json", batch.to_json().map_err(|error| cannot_write(error.to_string()))?)
            }
        };
        let compressed = if self.to.gzip { gzipped(&plain) } else { None };
        let encoded = compressed.as_ref().map(|_| ("content-encoding", "gzip"));
        let headers = [("content-type", content_type)]
            .into_iter()
            .chain(encoded)
            .chain(http::revealed(&self.to.headers));
        let body = compressed.as_deref().unwrap_or(&plain);
        match http::post(&self.agent, &self.to.endpoint, headers, body) {
            Ok(answer) => judge(&answer, self.encoding, signal),
            Err(message) => Err(Failed { worth_retrying: true, failure: Failure::default(), message }),
        }
    }
}

impl Batch {
    fn to_protobuf(&self) -> Vec<u8> {
        match self {
            Self::Traces(request) => request.encode_to_vec(),
            Self::Logs(request) => request.encode_to_vec(),
            Self::Metrics(request) => request.encode_to_vec(),
        }
    }

    fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        match self {
            Self::Traces(request) => serde_json::to_vec(request),
            Self::Logs(request) => serde_json::to_vec(request),
            Self::Metrics(request) => serde_json::to_vec(request),
        }
    }
}

fn gzipped(plain: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).ok()?;
    encoder.finish().ok()
}

fn judge(answer: &http::Answer, encoding: Encoding, signal: Signal) -> Result<Accepted, Failed> {
    let failed = |worth_retrying, refused| Failed {
        worth_retrying,
        failure: Failure { retry_after: answer.retry_after, refused },
        message: format!("answered {}", answer.status),
    };
    match answer.status {
        200..=299 => Ok(accepted(&answer.body, encoding)),
        408 | 429 | 502..=504 => Err(failed(true, None)),
        404 | 405 | 415 | 501 => Err(failed(false, Some(signal))),
        _ => Err(failed(false, None)),
    }
}

/// The answer of every signal: which part was not taken. The same field numbers in all three.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

/// An answer that cannot be read says nothing against the batch: the status has said that it was taken.
fn accepted(body: &[u8], encoding: Encoding) -> Accepted {
    let partial = match encoding {
        Encoding::Binary => ExportResponse::decode(body).ok().and_then(|answer| answer.partial_success),
        Encoding::Json => serde_json::from_slice(body).ok().as_ref().and_then(from_json),
    };
    partial.map_or_else(Accepted::default, |partial| {
        super::grpc::partly(partial.rejected, partial.error_message)
    })
}

/// 64-bit numbers are texts in protobuf's JSON form.
fn from_json(answer: &serde_json::Value) -> Option<PartialSuccess> {
    let partial = answer.get("partialSuccess")?.as_object()?;
    let rejected = partial.iter().find(|(key, _)| key.starts_with("rejected")).map(|(_, value)| value);
    let rejected = rejected
        .and_then(|value| value.as_i64().or_else(|| value.as_str().and_then(|text| text.parse().ok())));
    let error_message = partial.get("errorMessage").and_then(|text| text.as_str()).unwrap_or_default();
    Some(PartialSuccess { rejected: rejected.unwrap_or(0), error_message: error_message.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn answer(status: u16, body: &[u8]) -> http::Answer {
        http::Answer { status, retry_after: Some(Duration::from_secs(7)), body: body.to_vec() }
    }

    #[test]
    fn answers_mean_what_the_specification_says() {
        let judged = |status| judge(&answer(status, b""), Encoding::Binary, Signal::Logs);
        assert_eq!(judged(200), Ok(Accepted::default()));
        for status in [429, 502, 503, 504] {
            let failed = judged(status).unwrap_err();
            assert!(failed.worth_retrying && failed.failure.refused.is_none(), "{status}");
            assert_eq!(failed.failure.retry_after, Some(Duration::from_secs(7)));
        }
        for status in [301, 400, 401, 500] {
            assert!(!judged(status).unwrap_err().worth_retrying, "{status}");
        }
        assert_eq!(judged(404).unwrap_err().failure.refused, Some(Signal::Logs));
    }

    #[test]
    fn a_part_that_was_not_taken_is_read_in_both_encodings() {
        let partial = PartialSuccess { rejected: 3, error_message: "too old".to_owned() };
        let binary = ExportResponse { partial_success: Some(partial) }.encode_to_vec();
        let expected = Accepted { rejected: 3, message: Some("too old".to_owned()) };
        assert_eq!(accepted(&binary, Encoding::Binary), expected);
        let json = br#"{"partialSuccess": {"rejectedSpans": "3", "errorMessage": "too old"}}"#;
        assert_eq!(accepted(json, Encoding::Json), expected);
        assert_eq!(accepted(b"<html>", Encoding::Binary), Accepted::default());
    }
}
