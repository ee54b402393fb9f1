//! `doctor`: everything that the relay needs, looked at once, here and beyond.
//!
//! Each check is a line: how it came out, a short sentence, and what to do where something is
//! wrong. What is beyond this machine is asked as the relay asks it, by the relay's own code; a
//! copy of the answers is held against what the relay takes for granted (`upstream::contract`).
//!
//! **Invariant:** nothing that is printed says whose account it is.
//!
//! **Invariant:** the whole command is bounded in time, whatever does not answer.

mod beyond;
mod here;
mod network;
mod port;

use std::sync::Arc;

use clap::Args;
use futures_util::future::join;
use serde::{Serialize, Serializer};

use super::{
    Session,
    output::{Failure, Mark, Report, Section},
};
use crate::{
    app,
    upstream::contract::{Finding, Verdict, Weight},
};

#[derive(Debug, Args)]
pub struct Options {
    /// Send no request to a model, which would cost a few tokens
    #[arg(long, alias = "skip-response")]
    no_request: bool,
    /// Show everything that is taken for granted about the upstream, for a report
    #[arg(long)]
    contract: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How the names of checks begin that are about the contract with the upstream.
const CONTRACT: &str = "contract_";

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Pass,
    Warn,
    Fail,
    Skip,
}

impl Status {
    fn mark(self) -> Mark {
        match self {
            Self::Pass => Mark::Fine,
            Self::Warn => Mark::Doubtful,
            Self::Fail => Mark::Wrong,
            Self::Skip => Mark::Skipped,
        }
    }
}

/// Something that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The same for all checks of a kind.
    name: String,
    /// Whose it is, where there are several slots.
    slot: Option<String>,
    status: Status,
    message: String,
    /// What belongs to it, a line each.
    details: Vec<String>,
    next_steps: Vec<String>,
}

impl Check {
    pub fn new(status: Status, name: impl Into<String>, message: impl Into<String>) -> Self {
        let (name, message) = (name.into(), message.into());
        Self { name, slot: None, status, message, details: Vec::new(), next_steps: Vec::new() }
    }

    pub fn pass(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Status::Pass, name, message)
    }

    pub fn warn(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Status::Warn, name, message)
    }

    pub fn fail(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Status::Fail, name, message)
    }

    pub fn skip(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Status::Skip, name, message)
    }

    #[must_use]
    pub fn step(mut self, step: impl Into<String>) -> Self {
        self.next_steps.push(step.into());
        self
    }

    #[must_use]
    pub fn of(mut self, slot: Option<&str>) -> Self {
        self.slot = slot.map(str::to_owned);
        self
    }

    /// As people read it.
    fn label(&self) -> String {
        let name = self.name.strip_prefix(CONTRACT).unwrap_or(&self.name).replace('_', " ");
        match &self.slot {
            Some(slot) => format!("{name} {slot}"),
            None => name,
        }
    }

    #[must_use]
    pub fn details(mut self, details: impl IntoIterator<Item = String>) -> Self {
        self.details.extend(details);
        self
    }
}

/// What was found, section by section, shown as soon as it is known.
struct Examination<'a> {
    session: &'a Session<'a>,
    options: &'a Options,
    checks: Vec<Check>,
}

impl Examination<'_> {
    /// Tells what was found, unless a document is wanted in the end.
    fn tell(&mut self, section: &'static str, checks: Vec<Check>) -> Result<(), Failure> {
        let title = if self.checks.is_empty() { "AIRelays Doctor" } else { "" };
        let lines = checks.iter().fold(Section::new(section), |section, check| {
            let section = section.check(check.status.mark(), check.label(), &check.message);
            let section = check.details.iter().fold(section, Section::detail);
            check.next_steps.iter().fold(section, Section::mend)
        });
        self.checks.extend(checks);
        self.show(&Report::new(title).section(lines))
    }

    fn show(&self, report: &Report) -> Result<(), Failure> {
        if self.options.json {
            return Ok(());
        }
        self.session.terminal.answer(report, None::<&()>)
    }

    /// Tells how it all came out.
    fn conclude(&self, findings: &[Finding]) -> Result<(), Failure> {
        let summary = Summary::of(&self.checks);
        if self.options.json {
            let steps = self.checks.iter().flat_map(|check| check.next_steps.iter().cloned());
            let document = Document {
                ok: summary.failed == 0,
                version: env!("CARGO_PKG_VERSION"),
                checks: &self.checks,
                contract: findings.iter().map(Row).collect(),
                next_steps: steps.collect(),
                summary,
            };
            self.session.terminal.answer(&Report::continued(), Some(&document))?;
        } else {
            if self.options.contract {
                self.show(&Report::continued().section(table(findings)))?;
            }
            let sentence = format!("\n{}\n", summary.sentence());
            self.session.terminal.write(&sentence).map_err(Failure::Output)?;
        }
        if summary.failed == 0 { Ok(()) } else { Err(Failure::Unwell) }
    }
}

#[derive(Serialize)]
struct Document<'a> {
    ok: bool,
    version: &'static str,
    summary: Summary,
    checks: &'a [Check],
    contract: Vec<Row<'a>>,
    next_steps: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Summary {
    passed: usize,
    warnings: usize,
    failed: usize,
    skipped: usize,
}

impl Summary {
    fn of(checks: &[Check]) -> Self {
        let n = |status| checks.iter().filter(|check| check.status == status).count();
        Self {
            passed: n(Status::Pass),
            warnings: n(Status::Warn),
            failed: n(Status::Fail),
            skipped: n(Status::Skip),
        }
    }

    fn sentence(self) -> String {
        let counted = |n: usize, one: &str| match n {
            1 => format!("1 {one}"),
            n => format!("{n} {one}s"),
        };
        match (self.failed, self.warnings) {
            (0, 0) => "All is well.".to_owned(),
            (0, warnings) => format!("It works, with {}.", counted(warnings, "warning")),
            (failed, 0) => format!("{} found.", counted(failed, "problem")),
            (failed, warnings) => {
                format!(
                    "{} and {} found.",
                    counted(failed, "problem"),
                    counted(warnings, "warning")
                )
            }
        }
    }
}

/// A finding as a document has it.
struct Row<'a>(&'a Finding);

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Written<'a> {
            id: &'static str,
            assumption: &'static str,
            verdict: String,
            detail: Option<&'a str>,
        }
        let Finding { assumption, verdict, detail } = self.0;
        let verdict = verdict.as_str().replace(' ', "_");
        let (id, assumption) = (assumption.id(), assumption.sentence());
        Written { id, assumption, verdict, detail: detail.as_deref() }.serialize(serializer)
    }
}

pub fn run(session: &Session<'_>, options: &Options) -> Result<(), Failure> {
    let mut examination = Examination { session, options, checks: Vec::new() };
    let (checks, config) = here::checks(session);
    let Some(config) = config.map(Arc::new) else {
        examination.tell("This machine", checks)?;
        return examination.conclude(&[]);
    };
    examination.tell("This machine", checks)?;
    let findings = app::run(async {
        let looking = join(port::checks(session, &config), network::signs(&config));
        let (relay, (network, is_reached)) = looking.await;
        examination.tell("Relay", relay)?;
        examination.tell("Network", network)?;
        beyond::examine(&mut examination, &config, is_reached).await
    })??;
    let checks = contract(session, &findings);
    examination.tell("What the relay takes for granted", checks)?;
    examination.conclude(&findings)
}

/// The findings group by group: a line each, and one for whatever does not hold.
fn contract(session: &Session<'_>, findings: &[Finding]) -> Vec<Check> {
    if findings.iter().all(|finding| finding.verdict == Verdict::NotSeen) {
        let why = "nothing was seen that it could be held against";
        return vec![Check::skip(format!("{CONTRACT}all"), why)];
    }
    let group = |finding: &Finding| finding.assumption.id().split('.').next().unwrap_or_default();
    let mut checks: Vec<Check> = Vec::new();
    for findings in findings.chunk_by(|one, other| group(one) == group(other)) {
        let n = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
        let name = format!("{CONTRACT}{}", findings.first().map(group).unwrap_or_default());
        let (held, broken) = (n(Verdict::Held), n(Verdict::DoesNotHold));
        let unseen = match n(Verdict::NotSeen) {
            0 => String::new(),
            n => format!(", {n} not seen"),
        };
        let text = format!("{held} of {} hold{unseen}", findings.len());
        let is_vital = |finding: &Finding| {
            finding.verdict == Verdict::DoesNotHold && finding.assumption.weight() == Weight::Vital
        };
        let status = match (held, broken) {
            (0, 0) => Status::Skip,
            (_, 0) => Status::Pass,
            _ if findings.iter().any(is_vital) => Status::Fail,
            _ => Status::Warn,
        };
        let text = if status == Status::Skip { "nothing of it was seen".to_owned() } else { text };
        let check = Check::new(status, name, text);
        let otherwise = findings.iter().filter_map(|finding| {
            let detail = finding.detail.as_ref()?;
            let (id, sentence) = (finding.assumption.id(), finding.assumption.sentence());
            Some(format!("{id}: {sentence} But: {detail}."))
        });
        checks.push(check.details(otherwise));
    }
    if let Some(last) = checks.iter_mut().rev().find(|check| !check.details.is_empty()) {
        last.next_steps.push(format!(
            "the upstream has changed; the relay may need an update. For a report: {}",
            session.command("airelays doctor --contract")
        ));
    }
    checks
}

/// Every assumption, held or not.
fn table(findings: &[Finding]) -> Section {
    findings.iter().fold(Section::new("Assumptions"), |section, finding| {
        let Finding { assumption, verdict, detail } = finding;
        let mark = match (verdict, assumption.weight()) {
            (Verdict::Held, _) => Mark::Fine,
            (Verdict::DoesNotHold, Weight::Vital) => Mark::Wrong,
            (Verdict::DoesNotHold, Weight::Minor) => Mark::Doubtful,
            (Verdict::NotSeen, _) => Mark::Skipped,
        };
        let detail = detail.as_ref().map_or_else(String::new, |detail| format!(" But: {detail}."));
        let id = format!("{:<22}", assumption.id());
        let text = format!("{:<14} {}{detail}", verdict.as_str(), assumption.sentence());
        section.check(mark, id, text)
    })
}
