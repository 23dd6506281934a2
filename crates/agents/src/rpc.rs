//! JSON-RPC, one message per line, as agents speak it over their pipes.
//!
//! Pure: bytes to messages and back. The `jsonrpc` field is neither wanted nor sent by Codex; others do not mind.

use serde_json::{Value, json};

use crate::text::{TEXT_LIMIT, shortened};

/// Says that a method is not there, as JSON-RPC numbers it.
pub(crate) const METHOD_NOT_FOUND: i64 = -32601;

/// Bounds the id of a request, in bytes of its JSON.
const ID_LIMIT: usize = 256;

/// Is one message from the agent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Incoming {
    /// Answers a request of ours, which are numbered.
    Response { id: u64, result: Result<Value, RpcError> },
    /// Asks for something; the id stands in the answer as it came.
    Request { id: Value, method: String, params: Value },
    /// Tells something.
    Notification { method: String, params: Value },
}

/// Is the answer to a request that was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RpcError {
    pub(crate) message: String,
}

/// Parses a line; none if it is no message.
pub(crate) fn parse(line: &[u8]) -> Option<Incoming> {
    let Value::Object(mut message) = serde_json::from_slice(line).ok()? else { return None };
    let mut take = |field: &str| message.remove(field);
    let id = take("id").filter(|id| !id.is_null());
    if let Some(method) = take("method") {
        let Value::String(method) = method else { return None };
        let params = take("params").unwrap_or_default();
        return match id {
            None => Some(Incoming::Notification { method, params }),
            Some(id) if (id.is_string() || id.is_number()) && id.to_string().len() <= ID_LIMIT => {
                Some(Incoming::Request { id, method, params })
            }
            Some(_) => None,
        };
    }
    let id = id?.as_u64()?;
    let result = match (take("result"), take("error")) {
        (_, Some(error)) if !error.is_null() => {
            let message = error.get("message").and_then(Value::as_str).unwrap_or("no reason given");
            Err(RpcError { message: shortened(message, TEXT_LIMIT) })
        }
        (Some(result), _) => Ok(result),
        (None, _) => return None,
    };
    Some(Incoming::Response { id, result })
}

/// Spells a request.
pub(crate) fn request(id: u64, method: &str, params: &Value) -> Vec<u8> {
    line(&json!({ "id": id, "method": method, "params": params }))
}

/// Spells a notification without parameters.
pub(crate) fn notification(method: &str) -> Vec<u8> {
    line(&json!({ "method": method }))
}

/// Spells the answer to a request.
pub(crate) fn response(id: &Value, result: &Value) -> Vec<u8> {
    line(&json!({ "id": id, "result": result }))
}

/// Spells the refusal of a request.
pub(crate) fn refusal(id: &Value, code: i64, message: &str) -> Vec<u8> {
    line(&json!({ "id": id, "error": { "code": code, "message": message } }))
}

fn line(message: &Value) -> Vec<u8> {
    let mut bytes = message.to_string().into_bytes();
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart_by_their_fields() {
        let table = [
            (r#"{"id":1,"result":{"a":1}}"#, Some(Incoming::Response { id: 1, result: Ok(json!({"a": 1})) })),
            (
                r#"{"id":1,"result":null,"error":{"code":-32600,"message":"no"}}"#,
                Some(Incoming::Response { id: 1, result: Err(RpcError { message: "no".into() }) }),
            ),
            (
                r#"{"id":"a","method":"m","params":[]}"#,
                Some(Incoming::Request { id: json!("a"), method: "m".into(), params: json!([]) }),
            ),
            (r#"{"method":"m"}"#, Some(Incoming::Notification { method: "m".into(), params: Value::Null })),
            (r#"{"id":{},"method":"m"}"#, None),
            (r#"{"method":7}"#, None),
            (r#"{"id":1}"#, None),
            (r#"{"result":1}"#, None),
            ("[]", None),
            ("no", None),
        ];
        for (text, message) in table {
            assert_eq!(parse(text.as_bytes()), message, "{text}");
        }
        let long = format!(r#"{{"id":"{}","method":"m"}}"#, "x".repeat(ID_LIMIT));
        assert_eq!(parse(long.as_bytes()), None);
    }

    #[test]
    fn what_is_sent_is_one_line_each() {
        let bytes = request(7, "turn/start", &json!({"text": "a\nb"}));
        let newline = bytes.iter().position(|&byte| byte == b'\n');
        assert_eq!(newline, Some(bytes.len() - 1));
    }
}
