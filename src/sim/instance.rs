//! The least value that fits a JSON schema: what the imitated model fills into tools and formats.

use serde_json::{Map, Value};

use crate::sim::tree::{elements, fields, list, object, size, text};

/// How deep a schema that contains itself is followed.
const DEEPEST: usize = 12;

/// A small value that fits `schema`: every property, one element, the first of a choice.
pub(super) fn least(schema: &Value) -> Value {
    Builder { root: schema }.least(schema, 0)
}

struct Builder<'a> {
    /// Where references point into.
    root: &'a Value,
}

impl Builder<'_> {
    fn least(&self, schema: &Value, depth: usize) -> Value {
        if let Some(constant) = schema.get("const") {
            return constant.clone();
        }
        if let Some(first) = elements(schema, "enum").iter().find(|value| !value.is_null()) {
            return first.clone();
        }
        if let Some(target) = self.target(text(schema, "$ref")) {
            return if depth < DEEPEST { self.least(target, depth + 1) } else { Value::Null };
        }
        if elements(schema, "allOf").iter().any(Value::is_object) {
            return self.merged(schema, depth);
        }
        for group in ["anyOf", "oneOf"] {
            let choices = elements(schema, group);
            if let Some(choice) = choices.iter().find(|choice| kind(choice) != "null") {
                return self.least(choice, depth + 1);
            }
        }
        match kind(schema) {
            "object" => self.object(schema, depth),
            "array" => self.array(schema, depth),
            "string" => string(schema).into(),
            "integer" => integer(schema).into(),
            "number" => number(schema).into(),
            "boolean" => Value::Bool(true),
            "null" => Value::Null,
            // Anything fits.
            _ => object! {},
        }
    }

    fn object(&self, schema: &Value, depth: usize) -> Value {
        let required = elements(schema, "required");
        let listed = fields(&schema["properties"]);
        let map: Map<_, _> = listed
            .filter(|(name, _)| depth < DEEPEST || required.iter().any(|one| one == name.as_str()))
            .map(|(name, inner)| (name.clone(), self.least(inner, depth + 1)))
            .collect();
        Value::Object(map)
    }

    fn array(&self, schema: &Value, depth: usize) -> Value {
        let least = schema.get("minItems").and_then(Value::as_u64).unwrap_or_default();
        let most = schema.get("maxItems").and_then(Value::as_u64).unwrap_or(u64::MAX);
        let wanted = if depth < DEEPEST { least.max(1).min(most) } else { least };
        match schema.get("items") {
            Some(items) => (0..wanted).map(|_| self.least(items, depth + 1)).collect(),
            None => list![],
        }
    }

    /// The parts of `allOf` and what stands beside them, as one object.
    fn merged(&self, schema: &Value, depth: usize) -> Value {
        let parts: Vec<_> =
            elements(schema, "allOf").iter().map(|part| self.least(part, depth + 1)).collect();
        if parts.iter().any(|part| !part.is_object()) {
            return parts.into_iter().find(|part| !part.is_object()).unwrap_or_default();
        }
        let own = self.object(schema, depth);
        let all = parts.iter().chain([&own]).flat_map(fields);
        Value::Object(all.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    fn target(&self, reference: &str) -> Option<&Value> {
        self.root.pointer(reference.strip_prefix('#')?)
    }
}

/// The type of a schema, the first that is not `null` when it has several.
fn kind(schema: &Value) -> &str {
    if let Some(first) = elements(schema, "type").iter().find(|kind| *kind != "null") {
        return first.as_str().unwrap_or_default();
    }
    match text(schema, "type") {
        "" if schema.get("properties").is_some() => "object",
        "" if schema.get("items").is_some() => "array",
        kind => kind,
    }
}

fn string(schema: &Value) -> String {
    let plain = match text(schema, "format") {
        "date-time" => "2026-01-01T00:00:00Z",
        "date" => "2026-01-01",
        "time" => "00:00:00Z",
        "duration" => "P1D",
        "email" => "text@example.com",
        "hostname" => "example.com",
        "ipv4" => "127.0.0.1",
        "ipv6" => "::1",
        "uri" => "https://example.com/",
        "uuid" => "00000000-0000-4000-8000-000000000000",
        _ => "text",
    };
    let least = schema.get("minLength").and_then(Value::as_u64).map_or(0, size);
    let most = schema.get("maxLength").and_then(Value::as_u64).map_or(usize::MAX, size);
    let padding = least.saturating_sub(plain.len());
    plain.chars().chain(std::iter::repeat_n('x', padding)).take(most).collect()
}

fn integer(schema: &Value) -> i64 {
    let bound = |key: &str| schema.get(key).and_then(Value::as_i64);
    let step = bound("multipleOf").filter(|step| *step > 0).unwrap_or(1);
    let least = bound("minimum").or_else(|| bound("exclusiveMinimum").map(|least| least + 1));
    let most = bound("maximum").or_else(|| bound("exclusiveMaximum").map(|most| most - 1));
    let wanted = 1.max(least.unwrap_or(1)).min(most.unwrap_or(i64::MAX));
    let rest = wanted.rem_euclid(step);
    if rest == 0 { wanted } else { wanted.saturating_add(step - rest) }
}

fn number(schema: &Value) -> f64 {
    let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
    let least = bound("minimum").or_else(|| bound("exclusiveMinimum").map(|least| least + 0.5));
    let most = bound("maximum").or_else(|| bound("exclusiveMaximum").map(|most| most - 0.5));
    1.5_f64.max(least.unwrap_or(1.5)).min(most.unwrap_or(f64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fit_their_schemas() {
        let cases = [
            (r#"{"type":"string"}"#, r#""text""#),
            (r#"{"type":["null","integer"]}"#, "1"),
            (r#"{"type":"number"}"#, "1.5"),
            (r#"{"type":"boolean"}"#, "true"),
            (r#"{"type":"string","enum":["b","a"]}"#, r#""b""#),
            (r#"{"const":7}"#, "7"),
            (r#"{"type":"integer","minimum":5}"#, "5"),
            (r#"{"type":"integer","maximum":-2}"#, "-2"),
            (r#"{"type":"string","minLength":6}"#, r#""textxx""#),
            (r#"{"type":"array","items":{"type":"string"}}"#, r#"["text"]"#),
            (r#"{"anyOf":[{"type":"null"},{"type":"string"}]}"#, r#""text""#),
            (r#"{"type":"object"}"#, "{}"),
            (
                r#"{"type":"object","properties":{"z":{"type":"string"},"a":{"type":"integer"}},"required":["z"]}"#,
                r#"{"z":"text","a":1}"#,
            ),
            (
                r##"{"type":"object","properties":{"p":{"$ref":"#/$defs/p"}},"$defs":{"p":{"type":"object","properties":{"x":{"type":"number"}}}}}"##,
                r#"{"p":{"x":1.5}}"#,
            ),
            (
                r#"{"allOf":[{"properties":{"a":{"type":"boolean"}}},{"properties":{"b":{"type":"boolean"}}}]}"#,
                r#"{"a":true,"b":true}"#,
            ),
        ];
        for (schema, expected) in cases {
            let tree = serde_json::from_str(schema).expect("JSON");
            assert_eq!(least(&tree).to_string(), expected, "{schema}");
        }
    }

    #[test]
    fn a_schema_that_contains_itself_ends() {
        let schema = r##"{"type":"object","properties":{"next":{"$ref":"#"}},"required":[]}"##;
        let value = least(&serde_json::from_str(schema).expect("JSON"));
        assert!(value.to_string().len() < 200, "{value}");
    }
}
