//! What the commands say, how it looks, and the exit code.
//!
//! A report is a title and sections of fields and steps. Colors are for terminals alone, and for
//! those who want them.
//!
//! **Invariant:** nothing else in the program writes to standard output or standard error.
//!
//! **Invariant:** a reader that went away is no failure.
//!
//! **Invariant:** a value cannot steer the terminal: control characters are shown, not sent.

use std::{
    borrow::Cow,
    error::Error,
    fmt::{self, Write as _},
    io::{self, IsTerminal, Write},
    path::Path,
    process::ExitCode,
};

use serde::Serialize;
use tracing::level_filters::LevelFilter;

use super::{demo::Broken, remote::NoAnswer};
use crate::{
    app,
    auth::{import::ImportError, revoke::Kept, sign_in::SignInError},
    config::{Environment, Problems, Unwritable},
    redact,
    roster::RosterError,
};

/// Why a command did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Settings(#[from] Problems),
    #[error(
        "Bearer authentication is enabled, but no relay token is configured. \
         Run `airelays init` or set AIRELAYS_BEARER_TOKEN."
    )]
    NoRelayToken,
    #[error("Could not {doing} {path}")]
    File {
        doing: &'static str,
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("The settings cannot be written")]
    Unwritable(#[from] Unwritable),
    #[error("Could not write the answer")]
    Output(#[source] io::Error),
    #[error("The simulated world cannot be like that: {0}")]
    World(String),
    #[error("This command is for relays alone; they write to it what is to be done")]
    NoJob(#[source] io::Error),
    #[error("The demo failed")]
    Demo(#[from] Broken),
    #[error(transparent)]
    SignIn(#[from] SignInError),
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error("Nothing was imported: it needs your agreement")]
    Unconfirmed,
    #[error("Nothing was imported")]
    Declined,
    #[error("{0} can be changed by every user of this machine, so it may not be what you made it")]
    Open(String),
    #[error(transparent)]
    SignOut(#[from] Kept),
    #[error(transparent)]
    App(#[from] app::Error),
    #[error(transparent)]
    Slots(#[from] RosterError),
    #[error(transparent)]
    Relay(#[from] NoAnswer),
    /// Told already, in the report.
    #[error("something is wrong")]
    Unwell,
    /// Something that the owner wrote, or wants, that cannot be.
    #[error("{0}")]
    Odd(String),
}

impl Failure {
    /// What the owner can do about it, where the sentence does not say.
    fn hint(&self) -> Option<String> {
        match self {
            Self::Open(path) => Some(format!(
                "See what stands there, and run `chmod go-w {}`.",
                super::quoted(path)
            )),
            Self::Unconfirmed => Some("Add `--yes` if that is what you want.".to_owned()),
            Self::Import(_) => {
                Some("`airelays login` makes a login of the relay's own.".to_owned())
            }
            Self::SignIn(error) => error.hint(),
            Self::Slots(RosterError::Malformed { path, .. })
            | Self::App(app::Error::Slots(RosterError::Malformed { path, .. })) => Some(format!(
                "Mend the file, or move it away: then every login serves with the usual settings. \
                 `mv {0} {0}.broken`",
                super::quoted(&path.to_string_lossy())
            )),
            Self::Settings(_)
            | Self::NoRelayToken
            | Self::File { .. }
            | Self::Unwritable(_)
            | Self::Output(_)
            | Self::World(_)
            | Self::NoJob(_)
            | Self::Demo(_)
            | Self::Declined
            | Self::SignOut(_)
            | Self::Slots(_)
            | Self::Relay(_)
            | Self::Unwell
            | Self::Odd(_)
            | Self::App(_) => None,
        }
    }

    /// For `map_err`: what was being done to which file.
    pub fn file(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.display().to_string();
        move |source| Self::File { doing, path, source }
    }
}

/// The one mapping of failures to exit codes.
pub fn exit_code(failure: &Failure) -> ExitCode {
    match failure {
        Failure::App(app::Error::InUse { .. }) => ExitCode::from(3),
        Failure::App(app::Error::Running { .. }) => ExitCode::from(75),
        // What a shell reports of a program that SIGINT ended.
        Failure::SignIn(SignInError::Interrupted) => ExitCode::from(130),
        Failure::Settings(_)
        | Failure::NoRelayToken
        | Failure::File { .. }
        | Failure::Unwritable(_)
        | Failure::Output(_)
        | Failure::World(_)
        | Failure::NoJob(_)
        | Failure::Demo(_)
        | Failure::SignIn(_)
        | Failure::Open(_)
        | Failure::Import(_)
        | Failure::Unconfirmed
        | Failure::Declined
        | Failure::SignOut(_)
        | Failure::Slots(_)
        | Failure::Relay(_)
        | Failure::Unwell
        | Failure::Odd(_)
        | Failure::App(
            app::Error::Listen { .. }
            | app::Error::Socket { .. }
            | app::Error::Open { .. }
            | app::Error::OpenToAnybody
            | app::Error::ShortToken
            | app::Error::Certificate(_)
            | app::Error::Read { .. }
            | app::Error::Write { .. }
            | app::Error::System { .. }
            | app::Error::Address
            | app::Error::Slots(_),
        ) => ExitCode::FAILURE,
    }
}

/// Prints what the parser of the command line has to say: help, the version, or a mistake.
pub fn usage(error: &clap::Error) -> ExitCode {
    match error.print() {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Err(_) => return ExitCode::FAILURE,
    }
    u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// Sends what the program notices about itself to standard error.
///
/// Warnings, unless `RUST_LOG` names another level.
pub fn diagnose(environment: &Environment) {
    let level = environment.get("RUST_LOG").and_then(|level| level.to_str()?.parse().ok());
    let level = level.unwrap_or(LevelFilter::WARN);
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .finish();
    // In a test of this process somebody may have been first.
    let _first = tracing::subscriber::set_global_default(subscriber);
}

/// The two streams of the process.
#[derive(Debug)]
pub struct Terminal {
    is_colored: bool,
}

impl Terminal {
    pub fn new(environment: &Environment) -> Self {
        let is = |name: &str, value: &str| environment.get(name).is_some_and(|set| set == value);
        let is_wanted =
            environment.get("NO_COLOR").is_none() && !is("CLICOLOR", "0") && !is("TERM", "dumb");
        Self { is_colored: is_wanted && io::stdout().is_terminal() }
    }

    /// Prints a report, or `json` in its place when that was asked for.
    ///
    /// # Errors
    ///
    /// When standard output cannot be written to, though somebody reads it.
    pub fn answer<T: Serialize>(&self, report: &Report, json: Option<&T>) -> Result<(), Failure> {
        let text = match json {
            Some(json) => {
                let text = serde_json::to_string_pretty(json).map_err(io::Error::from);
                text.map(|text| armoured(&(text + "\n")))
            }
            None => Ok(report.render(self.is_colored).into_bytes()),
        };
        text.and_then(|text| write(&mut io::stdout().lock(), &text)).map_err(Failure::Output)
    }

    /// Prints `text` as it is and at once, for what is shown as it happens.
    ///
    /// # Errors
    ///
    /// When standard output cannot be written to, though somebody reads it.
    #[expect(clippy::unused_self, reason = "whoever writes holds the terminal")]
    pub fn write(&self, text: &str) -> io::Result<()> {
        write(&mut io::stdout().lock(), text)
    }

    /// Prints one line of what is going on.
    pub fn note(&self, text: &str) {
        // Whoever does not read it misses nothing that the end does not tell.
        let _written = self.write(&(visible(text) + "\n"));
    }

    /// `text` as the title of everything that follows.
    pub fn title(&self, text: &str) -> String {
        painted(text, "1;36", self.is_colored)
    }

    /// `text` above a section.
    pub fn heading(&self, text: &str) -> String {
        painted(text, "1", self.is_colored)
    }

    /// What goes on, beside what was asked for.
    #[expect(clippy::unused_self, reason = "whoever writes holds the terminal")]
    pub fn tell(&self, text: &str) {
        to_stderr(&format!("{}\n", visible(text)));
    }

    /// Something odd that stops nothing.
    #[expect(clippy::unused_self, reason = "whoever writes holds the terminal")]
    pub fn warn(&self, text: &str) {
        to_stderr(&format!("warning: {}\n", visible(text)));
    }

    /// Why the command failed, with all its causes.
    pub fn complain(&self, failure: &Failure) {
        if matches!(failure, Failure::Unwell) {
            return;
        }
        if let Failure::Settings(Problems { notices, .. }) = failure {
            for notice in notices {
                self.warn(&notice.to_string());
            }
        }
        let mut text = failure.to_string();
        let mut cause = failure.source();
        while let Some(error) = cause {
            // Writing to a string cannot fail.
            let _written = write!(text, ": {error}");
            cause = error.source();
        }
        if let Some(hint) = failure.hint() {
            text.extend(["\n", &hint]);
        }
        // A list of problems has lines of its own.
        let lines: Vec<_> = text.lines().map(visible).collect();
        to_stderr(&(lines.join("\n") + "\n"));
    }
}

fn painted(text: &str, code: &str, is_colored: bool) -> String {
    let is_plain = !is_colored || code.is_empty();
    if is_plain { text.to_owned() } else { format!("\x1b[{code}m{text}\x1b[0m") }
}

fn write(to: &mut impl Write, text: impl AsRef<[u8]>) -> io::Result<()> {
    match to.write_all(text.as_ref()).and_then(|()| to.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

fn to_stderr(text: &str) {
    // There is nobody left to tell when this fails.
    let _written = write(&mut io::stderr().lock(), text);
}

/// A title and what belongs under it.
#[derive(Debug)]
pub struct Report {
    /// Empty for one that goes on under an earlier title.
    title: &'static str,
    sections: Vec<Section>,
}

#[derive(Debug)]
pub struct Section {
    /// Empty for one that goes on with an earlier one.
    name: Cow<'static, str>,
    lines: Vec<Line>,
}

#[derive(Debug)]
enum Line {
    Field {
        label: String,
        value: Option<String>,
        tone: Tone,
    },
    Step(String),
    Check {
        label: String,
        text: String,
        mark: Mark,
    },
    /// What belongs to the check above it.
    Detail(String),
    /// What to do about the check above it.
    Mend(String),
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    Fine,
    Doubtful,
    Wrong,
    Skipped,
}

/// How a value is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Good,
    Warn,
    Bad,
}

impl Report {
    pub fn new(title: &'static str) -> Self {
        Self { title, sections: Vec::new() }
    }

    /// What follows on an earlier report.
    pub fn continued() -> Self {
        Self::new("")
    }

    /// Adds a section, unless it is empty.
    #[must_use]
    pub fn section(mut self, section: Section) -> Self {
        if !section.lines.is_empty() {
            self.sections.push(section);
        }
        self
    }

    /// Adds the list of what to do next, unless it is empty.
    #[must_use]
    pub fn steps(self, steps: &[String]) -> Self {
        let lines = steps.iter().cloned().map(Line::Step).collect();
        self.section(Section { name: "Next Steps".into(), lines })
    }

    /// Adds sentences that do not fit into a field, unless there are none.
    #[must_use]
    pub fn notes(self, notes: &[String]) -> Self {
        let mut section = Section::new("Notes");
        for note in notes {
            section = section.field("Note", note);
        }
        self.section(section)
    }

    pub fn render(&self, is_colored: bool) -> String {
        let paint = |text: &str, code: &str| painted(text, code, is_colored);
        let mut out = match self.title {
            "" => String::new(),
            title => paint(title, "1;36") + "\n",
        };
        for section in &self.sections {
            if !section.name.is_empty() {
                out.extend(["\n", &paint(&visible(&section.name), "1"), "\n"]);
            }
            for (index, line) in section.lines.iter().enumerate() {
                let line = match line {
                    Line::Field { label, value, tone } => {
                        let label = format!("{:<18}", format!("{label}:"));
                        let value = visible(value.as_deref().unwrap_or("not set"));
                        format!("  {} {}\n", paint(&label, "2"), paint(&value, tone.code()))
                    }
                    Line::Step(step) => format!("  {}. {}\n", index + 1, visible(step)),
                    Line::Check { label, text, mark } => {
                        let (sign, code) = mark.shown();
                        let label = paint(&format!("{label:<16}"), "2");
                        format!("  {} {label} {}\n", paint(sign, code), visible(text))
                    }
                    Line::Detail(text) => {
                        format!("{:21}{}\n", "", paint(&visible(text), "2"))
                    }
                    Line::Mend(text) => format!("{:21}→ {}\n", "", visible(text)),
                };
                out.push_str(&line);
            }
        }
        out
    }
}

impl Section {
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self { name: name.into(), lines: Vec::new() }
    }

    #[must_use]
    pub fn field(self, label: impl Into<String>, value: impl fmt::Display) -> Self {
        self.toned(label, value, Tone::Plain)
    }

    #[must_use]
    pub fn toned(mut self, label: impl Into<String>, value: impl fmt::Display, tone: Tone) -> Self {
        let value = Some(value.to_string()).filter(|value| !value.is_empty());
        self.lines.push(Line::Field { label: label.into(), value, tone });
        self
    }

    /// How something that was looked at came out.
    #[must_use]
    pub fn check(mut self, mark: Mark, label: impl Into<String>, text: impl Into<String>) -> Self {
        self.lines.push(Line::Check { label: label.into(), text: text.into(), mark });
        self
    }

    /// What belongs to the check above it.
    #[must_use]
    pub fn detail(mut self, text: impl Into<String>) -> Self {
        self.lines.push(Line::Detail(text.into()));
        self
    }

    /// What to do about the check above it.
    #[must_use]
    pub fn mend(mut self, text: impl Into<String>) -> Self {
        self.lines.push(Line::Mend(text.into()));
        self
    }

    /// A field that may be unknown.
    #[must_use]
    pub fn maybe(self, label: impl Into<String>, value: Option<&str>) -> Self {
        self.field(label, value.unwrap_or_default())
    }

    /// `yes` in green or `no` in yellow.
    #[must_use]
    pub fn yes(self, label: impl Into<String>, is_so: bool) -> Self {
        let (word, tone) = if is_so { ("yes", Tone::Good) } else { ("no", Tone::Warn) };
        self.toned(label, word, tone)
    }
}

impl Mark {
    /// Its sign, and the code of its color.
    fn shown(self) -> (&'static str, &'static str) {
        match self {
            Self::Fine => ("✓", "32"),
            Self::Doubtful => ("!", "33"),
            Self::Wrong => ("✗", "31"),
            Self::Skipped => ("·", "2"),
        }
    }
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "32",
            Self::Warn => "33",
            Self::Bad => "31",
        }
    }
}

/// JSON without anything that could steer a terminal: all but ASCII is escaped, and so is DEL.
fn armoured(json: &str) -> Vec<u8> {
    json.chars().fold(Vec::with_capacity(json.len()), |mut out, c| {
        match u8::try_from(c) {
            Ok(byte) if byte.is_ascii() && c != '\x7f' => out.push(byte),
            Ok(_) | Err(_) => redact::literal::push_unicode(c, &mut out),
        }
        out
    })
}

/// `text` with the characters spelt out that could steer a terminal.
fn visible(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if redact::is_steering(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn report() -> Report {
        let section = Section::new("Relay")
            .field("Config file", "/x \x1b[2Jy")
            .toned("Relay token", "missing", Tone::Bad)
            .yes("Ready", true)
            .maybe("Email", None);
        Report::new("AIRelays Status")
            .section(section)
            .section(Section::new("Empty"))
            .steps(&["airelays init".to_owned(), "airelays login".to_owned()])
    }

    #[test]
    fn a_report_has_its_layout() {
        expect![[r#"
            AIRelays Status

            Relay
              Config file:       /x \u{1b}[2Jy
              Relay token:       missing
              Ready:             yes
              Email:             not set

            Next Steps
              1. airelays init
              2. airelays login
        "#]]
        .assert_eq(&report().render(false));
    }

    #[test]
    fn a_check_says_what_belongs_to_it_and_what_to_do() {
        let first = Section::new("Relay")
            .check(Mark::Fine, "port", "127.0.0.1:8080 is free")
            .check(Mark::Wrong, "login slot-2", "there is none")
            .mend("airelays login");
        let more = Section::new("")
            .check(Mark::Doubtful, "usage", "spent")
            .detail("codex\x1b[2J")
            .check(Mark::Skipped, "request", "not sent");
        let report = Report::new("AIRelays Doctor").section(first).section(more);
        expect![[r#"
            AIRelays Doctor

            Relay
              ✓ port             127.0.0.1:8080 is free
              ✗ login slot-2     there is none
                                 → airelays login
              ! usage            spent
                                 codex\u{1b}[2J
              · request          not sent
        "#]]
        .assert_eq(&report.render(false));
        assert!(report.render(true).contains("  \u{1b}[31m✗\u{1b}[0m \u{1b}[2mlogin slot-2    "));
    }

    #[test]
    fn colors_are_the_documented_ones_and_do_not_move_the_columns() {
        let colored = report().render(true);
        expect![[r#"
            [
                "\u{1b}[1;36mAIRelays Status\u{1b}[0m",
                "",
                "\u{1b}[1mRelay\u{1b}[0m",
                "  \u{1b}[2mConfig file:      \u{1b}[0m /x \\u{1b}[2Jy",
                "  \u{1b}[2mRelay token:      \u{1b}[0m \u{1b}[31mmissing\u{1b}[0m",
            ]
        "#]]
        .assert_debug_eq(&colored.lines().take(5).collect::<Vec<_>>());
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        struct Broken(io::ErrorKind);
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        assert!(write(&mut Broken(io::ErrorKind::BrokenPipe), "x").is_ok());
        assert!(write(&mut Broken(io::ErrorKind::StorageFull), "x").is_err());
    }
}
