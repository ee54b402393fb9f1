//! The shape of an answer: text, any JSON, or JSON of a schema.
//!
//! **Invariant:** a schema that a client gives is sent or the request is refused; it is never
//! ignored.

use crate::wire::{
    json::{Value, write::Object},
    notes::Notes,
    read::Expect,
    reject::Reject,
    schema,
};

#[derive(Debug)]
pub enum Format<'a> {
    Text,
    Json,
    Schema { name: Value<'a>, description: Option<Value<'a>>, schema: Value<'a>, strict: bool },
}

impl<'a> Format<'a> {
    /// Reads a format in either form: the chat document nests the schema under `json_schema`.
    ///
    /// # Errors
    ///
    /// When it is none of the formats there are.
    pub fn read(format: Option<Value<'a>>, notes: &mut Notes<'a>) -> Result<Self, Reject> {
        const KNOWN: &[&str] = &["type", "name", "description", "schema", "strict"];
        let Some(format) = format else { return Ok(Self::Text) };
        let kind = format.object()?.required("type")?;
        let kind = kind.one_of(&["json_schema", "json_object", "text"])?;
        if kind != "json_schema" {
            notes.unknown(format, &["type"]);
            return Ok(if kind == "text" { Self::Text } else { Self::Json });
        }
        let inner = match format.given("json_schema") {
            Some(nested) => {
                notes.unknown(format, &["type", "json_schema"]);
                nested.object()?
            }
            None if format.get("name").is_none() && format.get("schema").is_none() => {
                return Err(Reject::missing(format, "json_schema"));
            }
            None => format,
        };
        notes.unknown(inner, KNOWN);
        let name = inner.required("name")?;
        name.name()?;
        let description = inner.given("description");
        Ok(Self::Schema {
            name,
            description: description.map(|text| text.expect(Expect::String)).transpose()?,
            schema: inner.required("schema")?.object()?,
            strict: inner.given("strict").map(Value::boolean).transpose()?.unwrap_or(false),
        })
    }

    /// Writes the format as the upstream reads it.
    ///
    /// # Errors
    ///
    /// When a schema is to be strict and cannot be.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), Reject> {
        let mut object = Object::open(out);
        match self {
            Self::Text => object.text("type", "text"),
            Self::Json => object.text("type", "json_object"),
            Self::Schema { name, description, schema, strict } => {
                object.text("type", "json_schema");
                object.raw("name", name.raw());
                if let Some(description) = description {
                    object.raw("description", description.raw());
                }
                object.flag("strict", *strict);
                if *strict {
                    schema::write_strict(object.field("schema"), *schema)?;
                } else {
                    object.raw("schema", schema.raw());
                }
            }
        }
        object.close();
        Ok(())
    }
}
