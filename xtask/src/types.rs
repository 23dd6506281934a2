//! The types of the SDKs, from the JSON Schemas that the program prints.
//!
//! Only the part of JSON Schema that these schemas use is understood; anything else is an error,
//! never a guess.

#![expect(clippy::needless_for_each, reason = "read as one sentence, these say more")]

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// A language that types are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    /// Interfaces and unions.
    TypeScript,
    /// `TypedDict` classes and unions.
    Python,
}

/// The schemas that become types: how the program calls them, and the name of the type.
pub(crate) const ROOTS: &[(&str, &str)] =
    &[("event", "RunEvent"), ("exec", "ExecResult"), ("start", "StartResult")];

/// What a schema says that this generator does not understand.
#[derive(Debug, thiserror::Error)]
#[error("type `{name}`: {what}")]
pub(crate) struct Unknown {
    name: String,
    what: String,
}

/// A type without a name of its own.
#[derive(Debug, Clone, PartialEq)]
enum Type {
    Word(&'static str),
    Literal(Value),
    Name(String),
    List(Box<Type>),
    Union(Vec<Type>),
}

struct Field {
    name: String,
    doc: Option<String>,
    of: Type,
    is_required: bool,
}

enum Definition {
    Object(Vec<Field>),
    Alias(Type),
}

#[derive(Default)]
struct Types {
    definitions: BTreeMap<String, (Option<String>, Definition)>,
}

/// Writes the types of `schemas`, in the order of [`ROOTS`].
pub(crate) fn write(schemas: &[Value], language: Language) -> Result<String, Unknown> {
    let mut types = Types::default();
    for ((_, name), schema) in ROOTS.iter().zip(schemas) {
        let definitions = schema.get("$defs").and_then(Value::as_object);
        for (name, definition) in definitions.into_iter().flatten() {
            types.define(name, definition)?;
        }
        if schema.get("oneOf").is_some() {
            types.envelope(name, schema)?;
        } else {
            types.define(name, schema)?;
        }
    }
    Ok(match language {
        Language::TypeScript => typescript(&types),
        Language::Python => python(&types),
    })
}

fn text(schema: &Value, key: &str) -> Option<String> {
    schema.get(key).and_then(Value::as_str).map(str::to_owned)
}

/// What a schema says of itself, in one line.
fn doc(schema: &Value) -> Option<String> {
    Some(text(schema, "description")?.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn list<'v>(schema: &'v Value, key: &str) -> Option<&'v Vec<Value>> {
    schema.get(key).and_then(Value::as_array)
}

impl Types {
    fn define(&mut self, name: &str, schema: &Value) -> Result<(), Unknown> {
        let definition = match schema.get("properties").and_then(Value::as_object) {
            Some(properties) => Definition::Object(self.fields(name, schema, properties)?),
            None => Definition::Alias(self.read(name, schema)?),
        };
        self.definitions.insert(name.to_owned(), (doc(schema), definition));
        Ok(())
    }

    /// Every alternative gets the fields that all have, and a name from its `type`.
    fn envelope(&mut self, name: &str, schema: &Value) -> Result<(), Unknown> {
        let unknown = |what: &str| Unknown { name: name.to_owned(), what: what.to_owned() };
        let shared =
            schema.get("properties").and_then(Value::as_object).ok_or_else(|| unknown("no properties"))?;
        let mut union = Vec::new();
        for alternative in list(schema, "oneOf").into_iter().flatten() {
            let kind = alternative.pointer("/properties/type/const").and_then(Value::as_str);
            let kind = pascal(kind.ok_or_else(|| unknown("an alternative has no type"))?);
            let own = alternative.get("properties").and_then(Value::as_object);
            let mut fields = self.fields(name, schema, shared)?;
            fields.extend(self.fields(&kind, alternative, own.unwrap_or(&Map::new()))?);
            let event = format!("{kind}Event");
            let doc = doc(alternative);
            self.definitions.insert(event.clone(), (doc, Definition::Object(fields)));
            union.push(Type::Name(event));
        }
        let doc = doc(schema);
        self.definitions.insert(name.to_owned(), (doc, Definition::Alias(Type::Union(union))));
        Ok(())
    }

    fn fields(
        &mut self,
        name: &str,
        schema: &Value,
        properties: &Map<String, Value>,
    ) -> Result<Vec<Field>, Unknown> {
        let required = list(schema, "required").map(Vec::as_slice).unwrap_or_default();
        let mut fields = Vec::new();
        for (key, property) in properties {
            fields.push(Field {
                name: key.clone(),
                doc: doc(property),
                of: self.read(&format!("{name}{}", pascal(key)), property)?,
                is_required: required.iter().any(|name| name == key),
            });
        }
        Ok(fields)
    }

    /// Reads a type; an object gets `name`.
    fn read(&mut self, name: &str, schema: &Value) -> Result<Type, Unknown> {
        if let Some(reference) = text(schema, "$ref") {
            return Ok(Type::Name(reference.trim_start_matches("#/$defs/").to_owned()));
        }
        if let Some(constant) = schema.get("const") {
            return Ok(Type::Literal(constant.clone()));
        }
        if let Some(words) = list(schema, "enum") {
            return Ok(Type::Union(words.iter().cloned().map(Type::Literal).collect()));
        }
        if let Some(alternatives) = list(schema, "anyOf").or_else(|| list(schema, "oneOf")) {
            let read = |(at, one): (usize, &Value)| self.read(&format!("{name}{}", at + 1), one);
            return Ok(Type::Union(alternatives.iter().enumerate().map(read).collect::<Result<_, _>>()?));
        }
        if schema.get("properties").is_some() {
            self.define(name, schema)?;
            return Ok(Type::Name(name.to_owned()));
        }
        match schema.get("type") {
            Some(Value::String(word)) => self.word(name, word, schema),
            Some(Value::Array(words)) => {
                let read = |word: &Value| self.word(name, word.as_str().unwrap_or_default(), schema);
                Ok(Type::Union(words.iter().map(read).collect::<Result<_, _>>()?))
            }
            _ => Ok(Type::Word("any")),
        }
    }

    fn word(&mut self, name: &str, word: &str, schema: &Value) -> Result<Type, Unknown> {
        Ok(match word {
            "string" => Type::Word("string"),
            "integer" => Type::Word("integer"),
            "number" => Type::Word("number"),
            "boolean" => Type::Word("boolean"),
            "null" => Type::Word("null"),
            "object" => Type::Word("object"),
            "array" => {
                let items = schema.get("items").unwrap_or(&Value::Bool(true));
                Type::List(Box::new(self.read(&format!("{name}Item"), items)?))
            }
            other => return Err(Unknown { name: name.to_owned(), what: format!("the type `{other}`") }),
        })
    }
}

fn pascal(word: &str) -> String {
    let mut name = String::new();
    for part in word.split('_') {
        let mut letters = part.chars();
        name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        name.push_str(letters.as_str());
    }
    name
}

/// Words that Python takes for itself; a field of that name has no place in a class.
const RESERVED: &[&str] =
    &["class", "def", "except", "from", "global", "import", "in", "is", "lambda", "not", "pass"];

/// Adds a line.
fn add(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}

fn typescript(types: &Types) -> String {
    let mut out = String::new();
    add(&mut out, "// Generated by `cargo xtask codegen` from `schemas/`; not to be edited.");
    for (name, (doc, definition)) in &types.definitions {
        add(&mut out, "");
        doc.iter().for_each(|doc| add(&mut out, &format!("/** {doc} */")));
        match definition {
            Definition::Alias(of) => add(&mut out, &format!("export type {name} = {};", in_typescript(of))),
            Definition::Object(fields) => {
                add(&mut out, &format!("export interface {name} {{"));
                for Field { name, doc, of, is_required } in fields {
                    doc.iter().for_each(|doc| add(&mut out, &format!("  /** {doc} */")));
                    let mark = if *is_required { "" } else { "?" };
                    add(&mut out, &format!("  {name}{mark}: {};", in_typescript(of)));
                }
                add(&mut out, "}");
            }
        }
    }
    out
}

fn in_typescript(of: &Type) -> String {
    match of {
        Type::Word("integer") => "number".to_owned(),
        Type::Word("any") => "unknown".to_owned(),
        Type::Word("object") => "Record<string, unknown>".to_owned(),
        Type::Word(word) => (*word).to_owned(),
        Type::Literal(value) => value.to_string(),
        Type::Name(name) => name.clone(),
        Type::List(item) => format!("Array<{}>", in_typescript(item)),
        Type::Union(types) => types.iter().map(in_typescript).collect::<Vec<_>>().join(" | "),
    }
}

fn python(types: &Types) -> String {
    let mut out = String::from(
        "\"\"\"Generated by `cargo xtask codegen` from `schemas/`; not to be edited.\"\"\"\n\n\
         from typing import Any, Literal, NotRequired, TypedDict, Union\n",
    );
    // An alias is a value in Python: what it names must stand before it.
    for (name, (doc, definition)) in &types.definitions {
        let Definition::Object(fields) = definition else { continue };
        if fields.iter().any(|field| RESERVED.contains(&field.name.as_str())) {
            add(&mut out, "\n");
            doc.iter().for_each(|doc| add(&mut out, &format!("# {doc}")));
            add(&mut out, &format!("{name} = TypedDict(\n    \"{name}\",\n    {{"));
            for field in fields {
                field.doc.iter().for_each(|doc| add(&mut out, &format!("        # {doc}")));
                add(&mut out, &format!("        \"{}\": \"{}\",", field.name, quoted(field)));
            }
            add(&mut out, "    },\n)");
            continue;
        }
        add(&mut out, &format!("\n\nclass {name}(TypedDict):"));
        doc.iter().for_each(|doc| add(&mut out, &format!("    \"\"\"{doc}\"\"\"\n")));
        if fields.is_empty() {
            add(&mut out, "    pass");
        }
        for field in fields {
            field.doc.iter().for_each(|doc| add(&mut out, &format!("    # {doc}")));
            add(&mut out, &format!("    {}: \"{}\"", field.name, quoted(field)));
        }
    }
    add(&mut out, "");
    for (name, (doc, definition)) in &types.definitions {
        let Definition::Alias(of) = definition else { continue };
        doc.iter().for_each(|doc| add(&mut out, &format!("\n# {doc}")));
        add(&mut out, &format!("{name} = {}", in_python(of)));
    }
    out
}

/// The type of a field, to be read later: what it names may stand below.
fn quoted(field: &Field) -> String {
    let of = in_python(&field.of);
    let of = if field.is_required { of } else { format!("NotRequired[{of}]") };
    of.replace('"', "'")
}

fn in_python(of: &Type) -> String {
    match of {
        Type::Word("string") => "str".to_owned(),
        Type::Word("integer") => "int".to_owned(),
        Type::Word("number") => "float".to_owned(),
        Type::Word("boolean") => "bool".to_owned(),
        Type::Word("null") => "None".to_owned(),
        Type::Word("object") => "dict[str, Any]".to_owned(),
        Type::Word(_) => "Any".to_owned(),
        Type::Literal(value) => format!("Literal[{value}]"),
        Type::Name(name) => name.clone(),
        Type::List(item) => format!("list[{}]", in_python(item)),
        Type::Union(types) => {
            format!("Union[{}]", types.iter().map(in_python).collect::<Vec<_>>().join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schemas() -> Vec<Value> {
        let event = json!({
            "$defs": {"Word": {"description": "A word.", "oneOf": [{"const": "yes"}, {"const": "no"}]}},
            "description": "An event.",
            "properties": {"seq": {"type": "integer", "description": "Its place."}},
            "required": ["seq"],
            "oneOf": [{
                "properties": {
                    "type": {"const": "run_created"},
                    "data": {"type": "object", "properties": {"word": {"$ref": "#/$defs/Word"}}, "required": []}
                },
                "required": ["type", "data"]
            }]
        });
        let plain = json!({"properties": {"paths": {"type": ["array", "null"], "items": {"type": "string"}}}, "required": ["paths"]});
        vec![event, plain.clone(), plain]
    }

    #[test]
    fn both_languages_say_the_same() {
        let typescript = write(&schemas(), Language::TypeScript).unwrap();
        for part in [
            "export type Word = \"yes\" | \"no\";",
            "export interface RunCreatedEvent {\n  /** Its place. */\n  seq: number;\n",
            "  data: RunCreatedData;",
            "export interface RunCreatedData {\n  word?: Word;\n}",
            "export type RunEvent = RunCreatedEvent;",
            "  paths: Array<string> | null;",
        ] {
            assert!(typescript.contains(part), "{part}\n{typescript}");
        }
        let python = write(&schemas(), Language::Python).unwrap();
        for part in [
            "class RunCreatedData(TypedDict):\n    word: \"NotRequired[Word]\"",
            "    type: \"Literal['run_created']\"",
            "Word = Union[Literal[\"yes\"], Literal[\"no\"]]",
            "    paths: \"Union[list[str], None]\"",
        ] {
            assert!(python.contains(part), "{part}\n{python}");
        }
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        let schema = json!({"properties": {"odd": {"type": "tuple"}}});
        let error = write(&[json!({"oneOf": [{}]}), schema], Language::Python).unwrap_err();
        assert_eq!(error.to_string(), "type `RunEvent`: no properties");
    }
}
