//! Layers of settings, and what is found when they are laid over each other.
//!
//! A layer is what one source says: the flags, the variables of one prefix, the file. Values stay
//! as the source wrote them until a setting asks, because only the setting knows its type.
//!
//! **Invariant:** a value that counts and cannot be read is a problem, never a default.
//!
//! Not here: how a source is turned into a layer (`flags`, `environment` and `file` are that).

use std::{collections::BTreeMap, fmt, path::Path, sync::Arc};

use super::{
    table::{About, Setting},
    value::{Literal, Raw},
};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    /// The line is counted from one.
    File {
        path: Arc<Path>,
        line: usize,
    },
    Variable(String),
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}, line {line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// A value and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sourced<T> {
    pub value: T,
    pub origin: Origin,
}

/// Something to tell the owner about: where it is and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    pub place: String,
    pub text: String,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// What was found on the way: problems stop the start, notices do not.
#[derive(Debug, Default)]
pub struct Findings {
    pub problems: Vec<Remark>,
    pub notices: Vec<Remark>,
}

impl Findings {
    pub fn problem(&mut self, place: impl Into<String>, text: impl Into<String>) {
        self.problems.push(Remark { place: place.into(), text: text.into() });
    }

    pub fn notice(&mut self, place: impl Into<String>, text: impl Into<String>) {
        self.notices.push(Remark { place: place.into(), text: text.into() });
    }
}

/// What one source says, by the key of the setting.
#[derive(Default)]
pub struct Layer(BTreeMap<&'static str, Sourced<Raw>>);

/// Keys only: values may be secrets.
impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Layer {
    /// Adds a flag of the command line. A flag that was not given adds nothing.
    #[must_use]
    pub fn flag(mut self, about: &About, name: &'static str, value: Option<Raw>) -> Self {
        if let Some(value) = value {
            self.set(about.key, value, Origin::Flag(name));
        }
        self
    }

    pub fn set(&mut self, key: &'static str, value: Raw, origin: Origin) {
        self.0.insert(key, Sourced { value, origin });
    }
}

/// A setting as it came out, for `status` and for the file that `init` writes.
#[derive(Clone, Debug)]
pub struct Effective {
    pub about: &'static About,
    /// As it would stand in the file; `None` when no file can hold it.
    pub literal: Option<String>,
    pub origin: Origin,
}

/// The layers, strongest first, and what was found and decided so far.
pub struct Values<'a> {
    layers: Vec<Layer>,
    pub home: Option<&'a Path>,
    pub findings: Findings,
    pub effective: Vec<Effective>,
}

impl<'a> Values<'a> {
    /// `layers` start with the flags.
    pub fn new(layers: Vec<Layer>, home: Option<&'a Path>, findings: Findings) -> Self {
        Self { layers, home, findings, effective: Vec::new() }
    }

    /// Adds the layer that is weaker than all others so far.
    pub fn push(&mut self, layer: Layer) {
        self.layers.push(layer);
    }

    /// What the strongest layer says that has a word about `setting`.
    ///
    /// What cannot be read is a problem, or a notice when a stronger layer makes up for it.
    pub fn given<T>(&mut self, setting: &Setting<T>) -> Option<Sourced<T>> {
        let mut found: Option<Sourced<T>> = None;
        for given in self.layers.iter().filter_map(|layer| layer.0.get(setting.about.key)) {
            match ((setting.read)(&given.value, self.home), &found) {
                (Ok(value), None) => {
                    found = Some(Sourced { value, origin: given.origin.clone() });
                }
                (Ok(_), Some(_)) => {}
                (Err(text), None) => {
                    self.findings.problem(place(&setting.about, &given.origin), text);
                }
                (Err(text), Some(stronger)) => {
                    let text = format!("{text} (not used: {} counts)", stronger.origin);
                    self.findings.notice(place(&setting.about, &given.origin), text);
                }
            }
        }
        found
    }

    /// What would count without the flags, if anything and if it can be read.
    pub fn below_flags<T>(&self, setting: &Setting<T>) -> Option<T> {
        let mut layers = self.layers.iter().skip(1);
        let given = layers.find_map(|layer| layer.0.get(setting.about.key))?;
        (setting.read)(&given.value, self.home).ok()
    }

    /// What is given, or the default of the table.
    ///
    /// `None` only after a problem was noted.
    pub fn take<T: Literal>(&mut self, setting: &'static Setting<T>) -> Option<T> {
        let Sourced { value, origin } = match self.given(setting) {
            Some(given) => given,
            None => Sourced { value: self.default_of(setting)?, origin: Origin::Default },
        };
        self.record(&setting.about, &value, origin);
        Some(value)
    }

    /// The default of the table, which is a problem only when it needs a home that is not known.
    pub fn default_of<T>(&mut self, setting: &Setting<T>) -> Option<T> {
        let default = setting.about.default;
        // Lists are made of texts without quotes or commas, so that a default reads like a word.
        let raw = match default.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
            Some(text) => Raw::Text(text.to_owned()),
            None => Raw::Word(default.replace(['[', ']', '"'], "").into()),
        };
        match (setting.read)(&raw, self.home) {
            Ok(value) => Some(value),
            Err(text) => {
                self.findings.problem(format!("the default of {}", setting.about.key), text);
                None
            }
        }
    }

    pub fn record(&mut self, about: &'static About, value: &impl Literal, origin: Origin) {
        self.effective.push(Effective { about, literal: value.literal(), origin });
    }
}

fn place(about: &About, origin: &Origin) -> String {
    match origin {
        Origin::File { .. } => format!("{} in {origin}", about.key),
        Origin::Default | Origin::Variable(_) | Origin::Flag(_) => origin.to_string(),
    }
}
