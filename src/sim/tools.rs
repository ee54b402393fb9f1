//! Declared tools and the choice among them.

use serde_json::Value;

use crate::sim::{
    account::Account,
    answer::Answer,
    models::Model,
    request::{Tool, ToolKind, item_kind},
    strict,
    tree::{elements, fields, given, text},
    validate::{invalid_value, missing, wrong},
    world::{Taken, World},
};

const NAME_MOST: usize = 64;

/// The tools that the client runs, or what is wrong with one of them.
///
/// They stand in `tools`, or in an item of the input in the lite form.
pub(super) fn read(
    body: &Value,
    model: &Model,
    account: &Account,
    world: &World,
) -> Result<Vec<Tool>, Answer> {
    let drawing = world.image_tool == Taken::Accepted && model.draws() && account.plan != "free";
    let mut declared = Vec::new();
    let mut reader = Reader { drawing, declared: &mut declared };
    reader.read_all(elements(body, "tools"), "tools", None)?;
    for (index, item) in elements(body, "input").iter().enumerate() {
        if item_kind(item) == "additional_tools" {
            reader.read_all(elements(item, "tools"), &format!("input[{index}].tools"), None)?;
        }
    }
    check_choice(body, &declared, world)?;
    Ok(declared)
}

struct Reader<'a> {
    /// Whether the hosted image tool is there.
    drawing: bool,
    declared: &'a mut Vec<Tool>,
}

impl Reader<'_> {
    fn read_all(
        &mut self,
        tools: &[Value],
        path: &str,
        namespace: Option<&str>,
    ) -> Result<(), Answer> {
        for (index, tool) in tools.iter().enumerate() {
            self.read_one(tool, &format!("{path}[{index}]"), namespace)?;
        }
        Ok(())
    }

    fn read_one(
        &mut self,
        tool: &Value,
        path: &str,
        namespace: Option<&str>,
    ) -> Result<(), Answer> {
        let kind = match text(tool, "type") {
            "function" => ToolKind::Function,
            "custom" => ToolKind::Custom,
            "namespace" => {
                check_name(text(tool, "name"), &format!("{path}.name"))?;
                let inside = format!("{path}.tools");
                return self.read_all(elements(tool, "tools"), &inside, Some(text(tool, "name")));
            }
            "web_search" | "tool_search" | "local_shell" => return Ok(()),
            "image_generation" if self.drawing => return Ok(()),
            "image_generation" => {
                return Err(wrong(
                    "The requested tool image_generation is not supported.",
                    Some("tools"),
                    Some("unsupported_value"),
                ));
            }
            "" => return Err(missing(&format!("{path}.type"))),
            other => return Err(Answer::detail(400, format!("Unsupported tool type: {other}"))),
        };
        if !given(tool, "name") {
            return Err(missing(&format!("{path}.name")));
        }
        check_name(text(tool, "name"), &format!("{path}.name"))?;
        match kind {
            ToolKind::Function => check_function(tool, path)?,
            ToolKind::Custom => check_custom(tool, path)?,
        }
        self.declared.push(Tool {
            kind,
            name: text(tool, "name").to_owned(),
            namespace: namespace.map(str::to_owned),
            parameters: tool["parameters"].clone(),
        });
        Ok(())
    }
}

/// Functions are strict unless they say otherwise.
fn check_function(tool: &Value, path: &str) -> Result<(), Answer> {
    if tool.get("strict") == Some(&Value::Bool(false)) || !given(tool, "parameters") {
        return Ok(());
    }
    strict::check(&tool["parameters"]).map_err(|flaw| {
        let message = format!("Invalid schema for function '{}': {flaw}", text(tool, "name"));
        let param = format!("{path}.parameters");
        wrong(&message, Some(&param), Some("invalid_function_parameters"))
    })
}

fn check_custom(tool: &Value, path: &str) -> Result<(), Answer> {
    let format = &tool["format"];
    match text(format, "type") {
        "" | "text" => Ok(()),
        "grammar" if matches!(text(format, "syntax"), "lark" | "regex") => {
            if given(format, "definition") {
                Ok(())
            } else {
                Err(missing(&format!("{path}.format.definition")))
            }
        }
        "grammar" => Err(invalid_value(
            text(format, "syntax"),
            &format!("{path}.format.syntax"),
            &["lark", "regex"],
        )),
        other => Err(invalid_value(other, &format!("{path}.format.type"), &["text", "grammar"])),
    }
}

/// Letters, digits, underscores and hyphens, at most 64.
pub(super) fn check_name(name: &str, param: &str) -> Result<(), Answer> {
    if name.len() > NAME_MOST {
        return Err(too_long(name, param));
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !name.is_empty() && name.bytes().all(fits) {
        return Ok(());
    }
    let message = format!(
        "Invalid '{param}': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'."
    );
    Err(wrong(&message, Some(param), Some("invalid_value")))
}

pub(super) fn too_long(text: &str, param: &str) -> Answer {
    let message = format!(
        "Invalid '{param}': string too long. Expected a string with maximum length {NAME_MOST}, but got a string with length {} instead.",
        text.len()
    );
    wrong(&message, Some(param), Some("string_above_max_length"))
}

fn check_choice(body: &Value, declared: &[Tool], world: &World) -> Result<(), Answer> {
    let choice = &body["tool_choice"];
    if choice.is_null() {
        return Ok(());
    }
    if let Some(mode) = choice.as_str() {
        // Hosted tools may be required as well.
        let none = declared.is_empty() && elements(body, "tools").is_empty();
        return match mode {
            "required" if none => Err(wrong(
                "Tool choice 'required' must be specified with 'tools' parameter.",
                Some("tool_choice"),
                None,
            )),
            "auto" | "none" | "required" => Ok(()),
            other => Err(invalid_value(other, "tool_choice", &["none", "auto", "required"])),
        };
    }
    if text(choice, "type") == "allowed_tools" {
        let mut allowed = elements(choice, "tools").iter();
        return allowed.try_for_each(|tool| check_chosen(tool, declared, world));
    }
    check_chosen(choice, declared, world)
}

/// Names are looked up among functions and custom tools only.
fn check_chosen(chosen: &Value, declared: &[Tool], world: &World) -> Result<(), Answer> {
    let found =
        |kind| declared.iter().any(|tool| tool.kind == kind && tool.name == text(chosen, "name"));
    let (fine, name) = match text(chosen, "type") {
        "function" => (found(ToolKind::Function), text(chosen, "name")),
        "custom" => (found(ToolKind::Custom), text(chosen, "name")),
        "web_search" => (world.web_search_choice == Taken::Accepted, "web_search"),
        other => (false, other),
    };
    if fine {
        return Ok(());
    }
    if fields(chosen).next().is_none() {
        return Err(missing("tool_choice.type"));
    }
    let message = format!("Tool choice '{name}' not found in 'tools' parameter.");
    Err(wrong(&message, Some("tool_choice"), None))
}
