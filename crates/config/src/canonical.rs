//! JSON in the one form that is hashed, compared and consented to.

use serde_json::Value;

/// Writes a value with the keys of every object sorted and without blanks, so that the same thing is
/// always the same bytes.
pub fn canonical_json(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort();
            text.push('{');
            for (index, name) in names.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                write(&fields[name], text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write(item, text);
            }
            text.push(']');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_thing_is_always_the_same_bytes() {
        let one: Value = serde_json::from_str(r#"{ "b": [1, {"y": null, "x": "é\n"}], "a": 1.50 }"#).unwrap();
        let two: Value = serde_json::from_str(r#"{"a":1.50,"b":[1,{"x":"\u00e9\n","y":null}]}"#).unwrap();
        assert_eq!(canonical_json(&one), canonical_json(&two));
        assert_eq!(canonical_json(&one), r#"{"a":1.5,"b":[1,{"x":"é\n","y":null}]}"#);
        let other: Value = serde_json::from_str(r#"{"a":1.51,"b":[1,{"x":"é\n","y":null}]}"#).unwrap();
        assert_ne!(canonical_json(&one), canonical_json(&other));
    }
}
