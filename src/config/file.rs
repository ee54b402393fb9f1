//! The file as a layer: TOML with the line of every value.
//!
//! A mistake in the syntax hides what the rest means, so then nothing else is said of the file.
//! Otherwise everything is looked at: what is no setting is a notice, what has the wrong shape a
//! problem.
//!
//! Not here: whether a value is any good (the setting says), where the file is (`config::paths`).

use std::{io, path::Path, sync::Arc};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    layer::{Findings, Layer, Origin},
    names,
    table::{About, SETTINGS},
    value::Raw,
};
use crate::private_file;

/// Far above any file of settings; keeps a wrong path from being read into memory.
const LIMIT: u64 = 1024 * 1024;

/// What the file at `path` says; nothing when there is none.
pub fn read(path: &Arc<Path>, findings: &mut Findings) -> Layer {
    let text = private_file::read(path, LIMIT).and_then(|content| {
        content.map(String::from_utf8).transpose().map_err(|_| io::Error::other("is not text"))
    });
    match text {
        Ok(Some(text)) => parse(path, &text, findings),
        Ok(None) => Layer::default(),
        Err(error) => {
            findings.problem(path.display().to_string(), format!("cannot be read: {error}"));
            Layer::default()
        }
    }
}

/// What `text` says, which stands in the file at `path`.
pub fn parse(path: &Arc<Path>, text: &str, findings: &mut Findings) -> Layer {
    let (table, mistakes) = DeTable::parse_recoverable(text);
    let mut reading = Reading { path, text, findings, layer: Layer::default() };
    if mistakes.is_empty() {
        reading.root(table.get_ref());
    }
    for mistake in mistakes {
        let at = mistake.span().map_or(0, |span| span.start);
        let place = format!("{}, line {}", path.display(), reading.line(at));
        reading.findings.problem(place, mistake.message().trim().replace('\n', "; "));
    }
    reading.layer
}

struct Reading<'a> {
    path: &'a Arc<Path>,
    text: &'a str,
    findings: &'a mut Findings,
    layer: Layer,
}

impl Reading<'_> {
    fn root(&mut self, table: &DeTable<'_>) {
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let is_section = SETTINGS.iter().any(|about| about.in_file && about.parts().0 == name);
            match (is_section, value.get_ref().as_table()) {
                (true, Some(section)) => self.section(name, section),
                (true, None) => {
                    let place = self.place(name, key.span().start);
                    let text = format!("must be a section ([{name}]), but is {}", raw(value));
                    self.findings.problem(place, text);
                }
                (false, Some(_)) => {
                    let place = self.place(&format!("[{name}]"), key.span().start);
                    self.findings.notice(place, names::unknown_section(name));
                }
                (false, None) => self.unknown(name, key.span().start),
            }
        }
    }

    fn section(&mut self, section: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let name = format!("{section}.{}", key.get_ref());
            let at = key.span().start;
            match SETTINGS.iter().find(|about| about.in_file && about.key == name) {
                Some(About { key, .. }) => {
                    let origin = Origin::File { path: Arc::clone(self.path), line: self.line(at) };
                    self.layer.set(key, raw(value), origin);
                }
                None => self.unknown(&name, at),
            }
        }
    }

    fn unknown(&mut self, key: &str, at: usize) {
        let place = self.place(key, at);
        self.findings.notice(place, names::unknown_key(key));
    }

    fn place(&self, name: &str, at: usize) -> String {
        format!("{name} in {}, line {}", self.path.display(), self.line(at))
    }

    fn line(&self, at: usize) -> usize {
        let before = self.text.as_bytes().get(..at).unwrap_or_default();
        1 + memchr::memchr_iter(b'\n', before).count()
    }
}

fn raw(value: &Spanned<DeValue<'_>>) -> Raw {
    match value.get_ref() {
        DeValue::String(text) => Raw::Text(text.clone().into_owned()),
        DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
            .map_or(Raw::Other("a number beyond all bounds"), Raw::Whole),
        DeValue::Float(number) => {
            number.as_str().parse().map_or(Raw::Other("a number beyond all bounds"), Raw::Float)
        }
        DeValue::Boolean(on) => Raw::Switch(*on),
        DeValue::Datetime(_) => Raw::Other("a date or time"),
        DeValue::Array(items) => {
            let texts = items.iter().map(|item| item.get_ref().as_str().map(str::to_owned));
            texts.collect::<Option<_>>().map_or(Raw::Other("an array"), Raw::List)
        }
        DeValue::Table(_) => Raw::Other("a section"),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(text: &str, expected: &Expect) {
        let mut findings = Findings::default();
        parse(&Arc::from(Path::new("/c.toml")), text, &mut findings);
        let lines = findings.problems.iter().map(|remark| format!("problem: {remark}\n"));
        let notices = findings.notices.iter().map(|remark| format!("notice: {remark}\n"));
        expected.assert_eq(&lines.chain(notices).collect::<String>());
    }

    #[test]
    fn unknown_names_are_told_with_their_line() {
        check(
            "port = 1\n[server]\nport = 2\nprot = 3\n\n[secruity]\nx = 1\n[providers.openai]\nbalance = 'x'\n[logging]\nretention_days = 7\n",
            &expect![[r#"
                notice: logging.retention_days in /c.toml, line 11: not used by this version
                notice: port in /c.toml, line 1: unknown setting; did you mean server.port?
                notice: [providers] in /c.toml, line 8: not used by this version
                notice: [secruity] in /c.toml, line 6: unknown section; did you mean security?
                notice: server.prot in /c.toml, line 4: unknown setting; did you mean server.port?
            "#]],
        );
    }

    #[test]
    fn a_section_must_be_one() {
        check(
            "server = 3\n[[paths]]\ndata_dir = '/x'\n",
            &expect![[r#"
                problem: paths in /c.toml, line 2: must be a section ([paths]), but is an array
                problem: server in /c.toml, line 1: must be a section ([server]), but is 3
            "#]],
        );
    }

    #[test]
    fn every_mistake_in_the_syntax_has_its_line_and_hides_the_rest() {
        check(
            "[server]\nport = \nhost = \"x\nprot = 1\nport = 3\n",
            &expect![[r#"
            problem: /c.toml, line 2: string values must be quoted, expected literal string
            problem: /c.toml, line 3: invalid basic string, expected `"`
            problem: /c.toml, line 5: duplicate key
        "#]],
        );
        check(
            "[server]\nport = 1\nport = 2\n",
            &expect![[r#"
            problem: /c.toml, line 3: duplicate key
        "#]],
        );
    }
}
