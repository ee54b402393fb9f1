//! JSON schemas: of parameters, of answers, strict or not.
//!
//! The upstream reads a missing `strict` as true and then refuses a schema in which an object is
//! open or a property optional. So whoever writes a schema also writes `strict`, and a schema that
//! a client wants strict is made so: every property is required, and one that was optional may be
//! `null` instead.
//!
//! Functions here recurse; the depth of a [`Doc`](crate::wire::json::Doc) bounds them.
//!
//! **Invariant:** a schema that is not to be strict is copied byte for byte.

use std::{borrow::Cow, collections::HashSet};

use crate::wire::{
    json::{
        Kind, Value,
        write::{Array, Object},
    },
    reject::Reject,
};

/// Keywords that hold one schema.
const ONE: &[&str] = &["items", "contains", "additionalItems", "if", "then", "else", "not"];
/// Keywords that hold a list of schemas.
const LIST: &[&str] = &["anyOf", "allOf", "oneOf", "prefixItems"];
/// Keywords that hold schemas by name.
const NAMED: &[&str] = &["patternProperties", "$defs", "definitions"];

/// Writes the parameters of a function: an object schema, whatever the client left out of it.
pub fn write_parameters(out: &mut Vec<u8>, schema: Value<'_>) {
    let typed = schema.given("type").is_some();
    let object = schema.given("type").is_none_or(|kind| allows(kind, "object"));
    let mut written = Object::open(out);
    if !typed {
        written.text("type", "object");
    }
    for entry in schema.entries() {
        let left_out = entry.key.is("$schema")
            || !typed && entry.key.is("type")
            || entry.key.is("properties") && entry.value.is_null();
        if !left_out {
            written.raw_field(entry.key.raw()).extend_from_slice(entry.value.raw());
        }
    }
    if object && schema.given("properties").is_none() {
        written.raw("properties", b"{}");
    }
    written.close();
}

/// Whether the upstream takes `schema`, of parameters, as a strict one: every object in it is
/// closed and requires all of its properties.
pub fn is_strict(schema: Value<'_>) -> bool {
    is_object(schema) && is_closed(schema)
}

fn is_closed(schema: Value<'_>) -> bool {
    if schema.kind() != Kind::Object {
        return false;
    }
    let closed = !is_object(schema)
        || schema.get("additionalProperties").and_then(Value::as_bool) == Some(false) && {
            let required = required(schema);
            let mut properties = schema.get("properties").into_iter().flat_map(Value::entries);
            properties.all(|entry| required.contains(&entry.name()) && is_closed(entry.value))
        };
    closed
        && ONE.iter().filter_map(|key| schema.get(key)).all(is_closed)
        && LIST.iter().filter_map(|key| schema.get(key)).all(|list| list.items().all(is_closed))
        && NAMED
            .iter()
            .filter_map(|key| schema.get(key))
            .all(|named| named.entries().all(|entry| is_closed(entry.value)))
}

/// Writes `schema` made strict.
///
/// # Errors
///
/// When it says something that a strict schema has no way to say.
pub fn write_strict(out: &mut Vec<u8>, schema: Value<'_>) -> Result<(), Reject> {
    let mut written = Object::open(out);
    write_keywords(&mut written, schema, true)?;
    written.close();
    Ok(())
}

/// Writes the keywords of `schema`; without `type` and `enum` if `whole` is false.
fn write_keywords(written: &mut Object<'_>, schema: Value<'_>, whole: bool) -> Result<(), Reject> {
    let object = is_object(schema.object()?);
    for entry in schema.entries() {
        let (key, value) = (&*entry.name(), entry.value);
        match key {
            "properties" | "required" | "additionalProperties" if object => {}
            "type" | "enum" if !whole => {}
            key if ONE.contains(&key) => write_strict(written.raw_field(entry.key.raw()), value)?,
            key if LIST.contains(&key) => {
                let mut list = Array::open(written.raw_field(entry.key.raw()));
                for item in value.array()?.items() {
                    write_strict(list.item(), item)?;
                }
                list.close();
            }
            key if NAMED.contains(&key) => {
                let mut named = Object::open(written.raw_field(entry.key.raw()));
                for entry in value.object()?.entries() {
                    write_strict(named.raw_field(entry.key.raw()), entry.value)?;
                }
                named.close();
            }
            _ => written.raw_field(entry.key.raw()).extend_from_slice(value.raw()),
        }
    }
    if object {
        write_properties(written, schema)?;
    }
    Ok(())
}

/// Closes an object schema and requires all of its properties.
fn write_properties(written: &mut Object<'_>, schema: Value<'_>) -> Result<(), Reject> {
    let properties = schema.given("properties").map(Value::object).transpose()?;
    let listed = schema.given("required").map(Value::array).transpose()?;
    let required = required(schema);
    if let Some(open) = schema.given("additionalProperties")
        && open.as_bool() != Some(false)
    {
        let path = open.path();
        let message = format!(
            "'{path}' must be false: a strict schema cannot allow properties that it does not name."
        );
        return Err(Reject::unsupported(path, message));
    }
    let mut all = Object::open(written.field("properties"));
    for entry in properties.into_iter().flat_map(Value::entries) {
        let out = all.raw_field(entry.key.raw());
        if required.contains(&entry.name()) {
            write_strict(out, entry.value)?;
        } else {
            write_nullable(out, entry.value)?;
        }
    }
    all.close();
    let mut list = Array::open(written.field("required"));
    let mut known = HashSet::new();
    for entry in properties.into_iter().flat_map(Value::entries) {
        known.insert(entry.name());
        list.item().extend_from_slice(entry.key.raw());
    }
    // A name that no property has is a mistake for the upstream to tell, in the client's words.
    for name in listed.into_iter().flat_map(Value::items) {
        if !known.contains(&name.string()?) {
            list.item().extend_from_slice(name.raw());
        }
    }
    list.close();
    written.flag("additionalProperties", false);
    Ok(())
}

/// Writes `schema` so that it also allows `null`.
fn write_nullable(out: &mut Vec<u8>, schema: Value<'_>) -> Result<(), Reject> {
    let kind = schema.object()?.given("type");
    match kind {
        Some(kind) if schema.get("const").is_none() => {
            let mut written = Object::open(out);
            write_type(&mut written, kind)?;
            if let Some(values) = schema.get("enum") {
                let values = values.array()?;
                write_with_null(written.field("enum"), values, Value::is_null, b"null");
            }
            write_keywords(&mut written, schema, false)?;
            written.close();
        }
        _ if is_null_choice(schema) => write_strict(out, schema)?,
        _ => {
            let mut written = Object::open(out);
            let mut choices = Array::open(written.field("anyOf"));
            write_strict(choices.item(), schema)?;
            choices.item().extend_from_slice(br#"{"type":"null"}"#);
            choices.close();
            written.close();
        }
    }
    Ok(())
}

fn write_type(written: &mut Object<'_>, kind: Value<'_>) -> Result<(), Reject> {
    let is_null = |kind: Value<'_>| kind.is("null");
    match kind.kind() {
        Kind::String if is_null(kind) => written.raw("type", kind.raw()),
        Kind::String => {
            let mut list = Array::open(written.field("type"));
            list.item().extend_from_slice(kind.raw());
            list.item().extend_from_slice(b"\"null\"");
            list.close();
        }
        Kind::Array => write_with_null(written.field("type"), kind, is_null, b"\"null\""),
        Kind::Null | Kind::Bool | Kind::Number | Kind::Object => {
            return Err(Reject::wrong_type(kind, "a string or an array"));
        }
    }
    Ok(())
}

fn write_with_null<'a>(
    out: &mut Vec<u8>,
    list: Value<'a>,
    is_null: fn(Value<'a>) -> bool,
    null: &[u8],
) {
    let mut written = Array::open(out);
    for item in list.items() {
        written.item().extend_from_slice(item.raw());
    }
    if !list.items().any(is_null) {
        written.item().extend_from_slice(null);
    }
    written.close();
}

/// Whether `schema` is a choice in which `null` is one already.
fn is_null_choice(schema: Value<'_>) -> bool {
    let choices = schema.get("anyOf").into_iter().flat_map(Value::items);
    choices.into_iter().any(|choice| choice.get("type").is_some_and(|kind| kind.is("null")))
}

fn is_object(schema: Value<'_>) -> bool {
    match schema.given("type") {
        Some(kind) => allows(kind, "object"),
        None => schema.given("properties").is_some(),
    }
}

fn allows(kind: Value<'_>, name: &str) -> bool {
    kind.is(name) || kind.items().any(|kind| kind.is(name))
}

fn required(schema: Value<'_>) -> HashSet<Cow<'_, str>> {
    schema.get("required").into_iter().flat_map(Value::items).filter_map(Value::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::json::Doc;

    const CLOSED: &str = r#""required":["a"],"additionalProperties":false"#;

    fn read<T>(schema: &str, read: impl FnOnce(Value<'_>) -> T) -> T {
        read(Doc::parse(schema.as_bytes()).expect(schema).root())
    }

    #[test]
    fn a_schema_is_strict_if_all_of_it_is() {
        let a =
            |schema: &str| format!(r#"{{"type":"object","properties":{{"a":{schema}}},{CLOSED}}}"#);
        let open = r#"{"type":"object","properties":{}}"#;
        for (schema, strict) in [
            (a(r#"{"type":"string"}"#), true),
            (a(&a(r#"{"$ref":"x"}"#)), true),
            (a(&format!(r#"{{"type":"array","items":{}}}"#, a("{}"))), true),
            (r#"{"type":["object","null"],"additionalProperties":false}"#.to_owned(), true),
            (a(open), false),
            (a(&format!(r#"{{"type":"array","items":{open}}}"#)), false),
            (a(&format!(r#"{{"anyOf":[{{"type":"null"}},{open}]}}"#)), false),
            (a("true"), false),
            (
                format!(
                    r#"{{"type":"object","additionalProperties":false,"$defs":{{"D":{open}}}}}"#
                ),
                false,
            ),
            (open.to_owned(), false),
            (
                r#"{"type":"object","properties":{"a":{}},"additionalProperties":false}"#
                    .to_owned(),
                false,
            ),
            ("{}".to_owned(), false),
            (r#"{"type":"string"}"#.to_owned(), false),
        ] {
            assert_eq!(read(&schema, is_strict), strict, "{schema}");
        }
    }

    #[test]
    fn parameters_are_always_an_object() {
        for (given, written) in [
            ("{}", r#"{"type":"object","properties":{}}"#),
            (
                r#"{"$schema":"x","type":"object","x":1}"#,
                r#"{"type":"object","x":1,"properties":{}}"#,
            ),
            (r#"{"type":null,"properties":null}"#, r#"{"type":"object","properties":{}}"#),
            (
                r#"{"properties":{"$schema":{}}}"#,
                r#"{"type":"object","properties":{"$schema":{}}}"#,
            ),
            (r#"{"type":"string"}"#, r#"{"type":"string"}"#),
        ] {
            let mut out = Vec::new();
            read(given, |schema| write_parameters(&mut out, schema));
            assert_eq!(String::from_utf8_lossy(&out), written);
        }
    }

    #[test]
    fn what_is_made_strict_is_strict() {
        for schema in [
            r#"{"type":"object"}"#,
            r#"{"properties":{"a":{"type":"string"},"b":{"enum":[1]},"c":{"type":"null"}}}"#,
            r#"{"type":"object","properties":{"a":{"type":"object","properties":{"b":{}}}},"required":["a"]}"#,
            r#"{"type":"object","properties":{"a":{"allOf":[{"type":"object"}]}},"definitions":{"D":{"type":"object"}}}"#,
            r#"{"type":"object","properties":{"a":{"type":"array","prefixItems":[{"properties":{"b":{}}}]}}}"#,
        ] {
            let mut out = Vec::new();
            read(schema, |schema| write_strict(&mut out, schema)).expect(schema);
            let text = String::from_utf8_lossy(&out).into_owned();
            assert!(read(&text, is_strict), "{schema} became {text}");
            let mut again = Vec::new();
            read(&text, |schema| write_strict(&mut again, schema)).expect(&text);
            let [before, after] = [out, again]
                .map(|json| serde_json::from_slice::<serde_json::Value>(&json).expect("valid"));
            assert_eq!(before, after, "nothing is left to do");
        }
    }
}
