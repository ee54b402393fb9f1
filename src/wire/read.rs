//! Reading a field as what the document says it is, or refusing the request.
//!
//! **Invariant:** a value of the wrong type is never converted; it is refused with its path.
//!
//! Not here: which fields there are (`wire::request`).

use std::borrow::Cow;

use super::{
    json::{Kind, Value},
    reject::Reject,
};

/// What a field may hold besides `null`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    Boolean,
    Integer,
    Number,
    String,
    Array,
    Object,
    StringOrArray,
}

impl<'a> Value<'a> {
    /// The field called `key`, which may be `null`.
    ///
    /// # Errors
    ///
    /// When it is absent.
    pub fn required(self, key: &str) -> Result<Self, Reject> {
        self.get(key).ok_or_else(|| Reject::missing(self, key))
    }

    /// This value, if it is what is expected.
    ///
    /// # Errors
    ///
    /// When it is of another type.
    pub fn expect(self, expected: Expect) -> Result<Self, Reject> {
        let (right, words) = match expected {
            Expect::Boolean => (self.kind() == Kind::Bool, "a boolean"),
            Expect::Integer => (self.as_i64().is_some(), "an integer"),
            Expect::Number => (self.kind() == Kind::Number, "a decimal"),
            Expect::String => (self.kind() == Kind::String, "a string"),
            Expect::Array => (self.kind() == Kind::Array, "an array"),
            Expect::Object => (self.kind() == Kind::Object, "an object"),
            Expect::StringOrArray => {
                (matches!(self.kind(), Kind::String | Kind::Array), "a string or an array")
            }
        };
        if right {
            return Ok(self);
        }
        let whole = self.raw().iter().all(|byte| byte.is_ascii_digit() || *byte == b'-');
        if expected == Expect::Integer && self.kind() == Kind::Number && whole {
            let path = self.path();
            let why = format!("Invalid '{path}': an integer of more than 64 bits.");
            return Err(Reject::bad(path, "integer_out_of_range", why));
        }
        Err(Reject::wrong_type(self, words))
    }

    /// # Errors
    ///
    /// When it is not an object.
    pub fn object(self) -> Result<Self, Reject> {
        self.expect(Expect::Object)
    }

    /// # Errors
    ///
    /// When it is not an array.
    pub fn array(self) -> Result<Self, Reject> {
        self.expect(Expect::Array)
    }

    /// # Errors
    ///
    /// When it is not a string.
    pub fn string(self) -> Result<Cow<'a, str>, Reject> {
        self.expect(Expect::String).map(|value| value.as_str().unwrap_or_default())
    }

    /// # Errors
    ///
    /// When it is not a string, or an empty one.
    pub fn name(self) -> Result<Cow<'a, str>, Reject> {
        match self.string()? {
            name if name.is_empty() => {
                let why = format!("Invalid '{}': empty string.", self.path());
                Err(Reject::invalid(self, why).with_code("empty_string"))
            }
            name => Ok(name),
        }
    }

    /// # Errors
    ///
    /// When it is not a boolean.
    pub fn boolean(self) -> Result<bool, Reject> {
        self.expect(Expect::Boolean).map(|value| value.as_bool() == Some(true))
    }

    /// An integer of at least `least`.
    ///
    /// # Errors
    ///
    /// When it is not an integer, or a smaller one.
    pub fn at_least(self, least: i64) -> Result<i64, Reject> {
        match self.expect(Expect::Integer)?.as_i64().unwrap_or_default() {
            value if value >= least => Ok(value),
            value => {
                let path = self.path();
                let why = format!(
                    "Invalid '{path}': integer below minimum value. Expected a value >= {least}, but got {value} instead."
                );
                Err(Reject::bad(path, "integer_below_min_value", why))
            }
        }
    }

    /// The one of `supported` that this string is.
    ///
    /// # Errors
    ///
    /// When it is not a string, or another one.
    pub fn one_of<'s>(self, supported: &[&'s str]) -> Result<&'s str, Reject> {
        self.expect(Expect::String)?;
        let known = supported.iter().find(|known| self.is(known));
        known.copied().ok_or_else(|| Reject::not_among(self, supported))
    }
}
