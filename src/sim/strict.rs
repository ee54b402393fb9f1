//! Whether a schema may be used strictly: every object closed, every property required.

use serde_json::Value;

use crate::sim::tree::{elements, fields, text};

/// Says what keeps `schema` from being used strictly.
///
/// # Errors
///
/// A sentence about the first flaw, with the place where it is.
pub(super) fn check(schema: &Value) -> Result<(), String> {
    if !is_object(schema) {
        let kind = schema.get("type").and_then(Value::as_str).unwrap_or("None");
        return Err(format!(
            "schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{kind}\"'."
        ));
    }
    check_at(schema, &mut Vec::new())
}

fn check_at(schema: &Value, path: &mut Vec<String>) -> Result<(), String> {
    if is_object(schema) {
        check_object(schema, path)?;
    }
    for group in ["properties", "$defs", "definitions"] {
        for (name, inner) in fields(&schema[group]) {
            check_inside(inner, path, [group, name])?;
        }
    }
    for (index, inner) in elements(schema, "anyOf").iter().enumerate() {
        check_inside(inner, path, ["anyOf", &index.to_string()])?;
    }
    if let Some(items) = schema.get("items") {
        path.push("items".to_owned());
        check_at(items, path)?;
        path.pop();
    }
    Ok(())
}

fn check_inside(inner: &Value, path: &mut Vec<String>, step: [&str; 2]) -> Result<(), String> {
    path.extend(step.map(str::to_owned));
    check_at(inner, path)?;
    path.truncate(path.len() - step.len());
    Ok(())
}

fn check_object(schema: &Value, path: &[String]) -> Result<(), String> {
    let context = context(path);
    if schema.get("additionalProperties") != Some(&Value::Bool(false)) {
        return Err(format!(
            "In context={context}, 'additionalProperties' is required to be supplied and to be false."
        ));
    }
    let required = elements(schema, "required");
    match fields(&schema["properties"]).find(|(name, _)| !required.iter().any(|one| one == *name)) {
        None => Ok(()),
        Some((name, _)) => Err(format!(
            "In context={context}, 'required' is required to be supplied and to be an array including every key in properties. Missing '{name}'."
        )),
    }
}

/// A place as the upstream writes it: `()`, `('items',)`, `('properties', 'a')`.
fn context(path: &[String]) -> String {
    let quoted: Vec<_> = path.iter().map(|step| format!("'{step}'")).collect();
    match quoted.as_slice() {
        [one] => format!("({one},)"),
        many => format!("({})", many.join(", ")),
    }
}

fn is_object(schema: &Value) -> bool {
    text(schema, "type") == "object" || elements(schema, "type").iter().any(|kind| kind == "object")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_flaw_is_named_with_its_place() {
        let closed = r#""additionalProperties":false"#;
        let cases = [
            (format!(r#"{{"type":"object","properties":{{}},{closed}}}"#), ""),
            (
                "{}".to_owned(),
                r#"schema must be a JSON Schema of 'type: "object"', got 'type: "None"'."#,
            ),
            (
                r#"{"type":"object","properties":{}}"#.to_owned(),
                "In context=(), 'additionalProperties' is required to be supplied and to be false.",
            ),
            (
                format!(
                    r#"{{"type":"object","properties":{{"a":{{"type":"string"}},"b":{{}}}},"required":["a"],{closed}}}"#
                ),
                "In context=(), 'required' is required to be supplied and to be an array including every key in properties. Missing 'b'.",
            ),
            (
                format!(
                    r#"{{"type":"object","properties":{{"a":{{"type":"array","items":{{"type":["object","null"]}}}}}},"required":["a"],{closed}}}"#
                ),
                "In context=('properties', 'a', 'items'), 'additionalProperties' is required to be supplied and to be false.",
            ),
            (
                format!(
                    r#"{{"type":"object","properties":{{"a":{{"anyOf":[{{"type":"null"}},{{"type":"object"}}]}}}},"required":["a"],{closed}}}"#
                ),
                "In context=('properties', 'a', 'anyOf', '1'), 'additionalProperties' is required to be supplied and to be false.",
            ),
        ];
        for (schema, expected) in cases {
            let tree = serde_json::from_str(&schema).expect("JSON");
            assert_eq!(check(&tree).err().unwrap_or_default(), expected, "{schema}");
        }
    }
}
