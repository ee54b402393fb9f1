//! A simulated week: what each policy makes of three accounts of different plans.
//!
//! The real pool chooses, meets limits and takes in what is left. Only the agents, the upstream and
//! the time are made up, the agents from one seed, so that every run is the same. It is there for
//! `docs/slots-week.md`, which `cargo xtask week` writes from it.
//!
//! **Invariant:** every policy meets the same requests at the same times.
//!
//! Not here: waiting and trying again (`relay`); a request that finds no slot is refused at once.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    fmt::{self, Write},
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};

use super::{
    Moment, SlotId, Wishes, affinity,
    health::{Fault, Why},
    policy::{Policy, Thresholds},
    pool::{Ask, Choice, Pool, Settings},
    window::{Family, Limits, MAIN, Reading, Source, Window},
};

const HOUR: u32 = 3_600;
const DAY: u32 = 24 * HOUR;
const WEEK: u32 = 7 * DAY;
/// When the week begins: 2027-01-18, a Monday, at midnight.
const MONDAY: Timestamp = Timestamp::constant(1_800_230_400, 0);
/// How long what a dialogue leaves in the upstream's cache stays there.
const CACHED: u32 = HOUR / 2;
/// How old a reading becomes before an account is asked what is left, as is the default.
const REFRESH: u32 = 300;
/// How often it is noted how much of the weeks is used up, and how often in all: once more and the
/// week that began before Monday would be over.
const SAMPLE: u32 = 2 * HOUR;
const N_SAMPLES: usize = 84;

/// A plan, by what one turn costs. The numbers are made up; how they relate is not.
#[expect(clippy::struct_field_names, reason = "what people call it")]
struct Plan {
    account: &'static str,
    plan: &'static str,
    /// Percent of the five hours and of the week.
    turn: [f64; 2],
    /// Percent of the week that are used up before it begins.
    used: f64,
}

const PLANS: [Plan; 3] = [
    Plan { account: "slot-1", plan: "pro", turn: [0.3, 0.05], used: 0.0 },
    Plan { account: "slot-2", plan: "plus", turn: [1.5, 0.25], used: 0.0 },
    Plan { account: "slot-3", plan: "plus", turn: [1.5, 0.25], used: 40.0 },
];

/// Whether a dialogue belongs to the slot that served it last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    Bound,
    Free,
}

/// What a week was like under one policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub policy: Policy,
    pub binding: Binding,
    pub asked: u32,
    pub served: u32,
    /// Requests for which there was no slot.
    pub refused: u32,
    /// How long there was none, as those requests were told.
    pub dry: Duration,
    /// Requests that met a limit at the upstream, and those of them that another slot served.
    pub limited: u32,
    pub moved: u32,
    /// Turns that found in the upstream's cache what their dialogue had left there.
    pub hits: u32,
    /// Percent of each account's week that are used up, every two hours.
    pub course: Vec<[f64; 3]>,
}

impl Row {
    /// Percent of the turns that were served.
    fn hit_share(&self) -> f64 {
        percent(self.hits, self.served)
    }

    /// Percent of each account's week at the end.
    fn week_used(&self) -> [f64; 3] {
        self.course.last().copied().unwrap_or_default()
    }
}

fn percent(part: u32, whole: u32) -> f64 {
    100.0 * f64::from(part) / f64::from(whole.max(1))
}

/// One row for each policy, with affinity and then without. Any `start` gives the same rows.
pub fn report(start: Instant) -> Vec<Row> {
    let turns = turns();
    let of = |binding| Policy::ALL.map(|policy| simulated(policy, binding, &turns, start));
    [Binding::Bound, Binding::Free].into_iter().flat_map(of).collect()
}

/// Numbers that look random and are the same every time, from a seed that is not 0.
#[derive(Clone, Debug)]
pub struct Seeded(pub u64);

impl Seeded {
    /// Less than `end`, which is not 0.
    pub fn below(&mut self, end: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from(self.0 >> 33).unwrap_or(0) % end.max(1)
    }

    /// One of `from`, which is not empty.
    #[cfg(test)]
    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        let n = self.below(u32::try_from(from.len()).unwrap_or(u32::MAX));
        from[usize::try_from(n).unwrap_or(0)].clone()
    }
}

/// One request of an agent. Times are seconds since the week began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    at: u32,
    dialogue: u32,
    /// How long its answer takes.
    lasts: u32,
}

/// All turns of the week in the order in which they come: bursts of agents in working hours, few
/// at the weekend, none at night.
fn turns() -> Vec<Turn> {
    let mut dice = Seeded(0x9e37_79b9_7f4a_7c15);
    let (mut turns, mut dialogues) = (Vec::new(), 0);
    for day in 0..7 {
        let is_weekday = day < 5;
        let hours = if is_weekday { 9..18 } else { 11..16 };
        for hour in hours {
            let bursts = if is_weekday { 1 + dice.below(3) } else { dice.below(2) };
            for _ in 0..bursts {
                let begins = day * DAY + hour * HOUR + dice.below(HOUR);
                for _ in 0..=dice.below(4) {
                    turns.extend(dialogue(dialogues, begins, &mut dice));
                    dialogues += 1;
                }
            }
        }
    }
    turns.sort_unstable();
    turns
}

/// 4 to 15 turns with short pauses, and a long one now and then.
fn dialogue(dialogue: u32, begins: u32, dice: &mut Seeded) -> Vec<Turn> {
    let n = 4 + dice.below(12);
    let mut at = begins;
    let mut turn = || {
        let turn = Turn { at, dialogue, lasts: 10 + dice.below(50) };
        let is_long = dice.below(8) == 0;
        let pause = if is_long { 300 + dice.below(3_000) } else { 10 + dice.below(110) };
        at += turn.lasts + pause;
        turn
    };
    (0..n).map(|_| turn()).collect()
}

/// A window as the upstream counts it: it begins with its first use and ends after its length.
struct Meter {
    minutes: u32,
    /// Percent that a turn costs.
    cost: f64,
    used: f64,
    ends: Option<u32>,
}

impl Meter {
    fn settle(&mut self, at: u32) {
        if self.ends.is_some_and(|ends| ends <= at) {
            (self.used, self.ends) = (0.0, None);
        }
    }

    fn begin(&mut self, at: u32) {
        self.settle(at);
        self.ends = self.ends.or(Some(at + 60 * self.minutes));
    }

    /// In whole percents, as the upstream tells it.
    fn window(&self) -> Window {
        Window {
            used_percent: self.used.min(100.0).floor(),
            minutes: Some(self.minutes.into()),
            resets_at: self.ends.map(wall),
        }
    }
}

/// An account at the upstream.
struct Account {
    id: SlotId,
    five_hours: Meter,
    week: Meter,
}

impl Account {
    fn new(number: u32, plan: &Plan) -> Self {
        let [five_hours, week] = plan.turn;
        // What is used up was used in the hour before midnight.
        let ends = (plan.used > 0.0).then_some(WEEK - HOUR);
        Self {
            id: SlotId::numbered(number),
            five_hours: Meter { minutes: 300, cost: five_hours, used: 0.0, ends: None },
            week: Meter { minutes: 10_080, cost: week, used: plan.used, ends },
        }
    }

    fn meters(&mut self) -> [&mut Meter; 2] {
        [&mut self.five_hours, &mut self.week]
    }

    fn begin(&mut self, at: u32) {
        self.meters().into_iter().for_each(|meter| meter.begin(at));
    }

    fn settle(&mut self, at: u32) {
        self.meters().into_iter().for_each(|meter| meter.settle(at));
    }

    /// A turn ends, and is counted now.
    fn spend(&mut self, at: u32) {
        self.begin(at);
        self.meters().into_iter().for_each(|meter| meter.used += meter.cost);
    }

    /// When all windows have reset that are full, if one is.
    fn full_until(&self) -> Option<u32> {
        let full = [&self.five_hours, &self.week].into_iter().filter(|meter| meter.used >= 100.0);
        full.filter_map(|meter| meter.ends).max()
    }

    fn reading(&self, source: Source, now: Moment) -> Reading {
        let windows = vec![self.five_hours.window(), self.week.window()];
        let families = vec![Family { id: MAIN.to_owned(), name: None, windows }];
        Reading::new(Limits { families, ..Limits::default() }, source, now.instant, now)
    }
}

fn wall(at: u32) -> Timestamp {
    MONDAY + SignedDuration::from_secs(at.into())
}

fn moment(start: Instant, at: u32) -> Moment {
    Moment { wall: wall(at), instant: start + Duration::from_secs(at.into()) }
}

/// An answer under way. Those that end first are first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Open {
    ends: u32,
    /// How many were served before.
    number: u32,
    slot: SlotId,
    place: u64,
}

/// A week under way.
struct Simulation {
    start: Instant,
    pool: Pool,
    accounts: Vec<Account>,
    open: BinaryHeap<Reverse<Open>>,
    /// Where each dialogue's last turn was, and when.
    cache: HashMap<u32, (SlotId, u32)>,
    looked_at: u32,
    sampled_at: u32,
    dry_until: u32,
    row: Row,
}

fn simulated(policy: Policy, binding: Binding, turns: &[Turn], start: Instant) -> Row {
    let mut simulation = Simulation::new(policy, binding, start);
    for turn in turns {
        simulation.turn(*turn);
    }
    simulation.finish()
}

impl Simulation {
    fn new(policy: Policy, binding: Binding, start: Instant) -> Self {
        let mut pool = Pool::new(Settings {
            policy,
            thresholds: Thresholds::default(),
            reserve: 0.0,
            concurrent: 64,
            affinity: affinity::Settings { most: 10_000, keep: Duration::from_hours(1) },
        });
        let accounts: Vec<_> =
            (1..).zip(&PLANS).map(|(number, plan)| Account::new(number, plan)).collect();
        let listed: Vec<_> =
            accounts.iter().map(|account| (account.id.clone(), Wishes::default())).collect();
        pool.reconcile(&listed);
        let row = Row {
            policy,
            binding,
            asked: 0,
            served: 0,
            refused: 0,
            dry: Duration::ZERO,
            limited: 0,
            moved: 0,
            hits: 0,
            course: Vec::new(),
        };
        let (open, cache) = (BinaryHeap::new(), HashMap::new());
        let (looked_at, sampled_at, dry_until) = (0, 0, 0);
        Self { start, pool, accounts, open, cache, looked_at, sampled_at, dry_until, row }
    }

    /// Somebody asks, and is sent from slot to slot until one serves or none is left.
    fn turn(&mut self, turn: Turn) {
        self.pass(turn.at);
        self.row.asked += 1;
        let now = moment(self.start, turn.at);
        let name = turn.dialogue.to_string();
        let session = match self.row.binding {
            Binding::Bound => Some(&*name),
            Binding::Free => None,
        };
        let mut tried: Vec<SlotId> = Vec::new();
        loop {
            let ask = Ask { session, model: None, tried: &tried, only: None, since: now.instant };
            match self.pool.choose(ask, now) {
                Ok(choice) if self.is_limited(&choice, turn.at) => tried.push(choice.id),
                Ok(choice) => {
                    self.serve(turn, session, choice);
                    self.row.moved += u32::from(!tried.is_empty());
                    break;
                }
                Err(none) => {
                    self.refuse(turn.at, none.wait.unwrap_or_default());
                    break;
                }
            }
        }
        self.row.limited += u32::from(!tried.is_empty());
    }

    /// Asks the account that was chosen. Whether it has nothing left, which frees the place.
    fn is_limited(&mut self, choice: &Choice, at: u32) -> bool {
        let now = moment(self.start, at);
        let Choice { id, number, .. } = choice;
        let Some(account) = self.accounts.iter_mut().find(|account| account.id == *id) else {
            return true;
        };
        account.begin(at);
        let full_until = account.full_until();
        let source = full_until.map_or(Source::Answer, |_| Source::Refusal);
        self.pool.read(id, &account.reading(source, now), now);
        let Some(until) = full_until else { return false };
        let fault = Fault { why: Why::UsageLimit { span: None }, until: Some(wall(until)) };
        self.pool.failed(id, None, fault, (now.instant, now));
        self.pool.leave(id, *number);
        true
    }

    /// The answer begins; what it costs is counted when it ends.
    fn serve(&mut self, turn: Turn, session: Option<&str>, choice: Choice) {
        let Choice { id, number: place, .. } = choice;
        let now = moment(self.start, turn.at);
        self.pool.answered(&id, None, now.instant);
        if let Some(session) = session {
            self.pool.bind(session, &id, &[], now);
        }
        let last = self.cache.insert(turn.dialogue, (id.clone(), turn.at));
        let is_hit = last.is_some_and(|(slot, at)| slot == id && turn.at - at < CACHED);
        self.row.hits += u32::from(is_hit);
        let ends = turn.at + turn.lasts;
        self.open.push(Reverse(Open { ends, number: self.row.served, slot: id, place }));
        self.row.served += 1;
    }

    fn refuse(&mut self, at: u32, wait: Duration) {
        self.row.refused += 1;
        let wait = u32::try_from(wait.as_secs()).unwrap_or(WEEK);
        let until = at.saturating_add(wait).min(WEEK);
        let more = until.saturating_sub(at.max(self.dry_until));
        self.row.dry += Duration::from_secs(more.into());
        self.dry_until = self.dry_until.max(until);
    }

    /// The time passes until `at`.
    fn pass(&mut self, at: u32) {
        while self.sampled_at <= at && self.row.course.len() < N_SAMPLES {
            self.sample();
        }
        // Nobody looks in between, so only the last round of questions can make a difference.
        let look = at - at % REFRESH;
        if look > self.looked_at {
            self.looked_at = look;
            self.end_answers(look);
            self.refresh(look);
        }
        self.end_answers(at);
    }

    fn end_answers(&mut self, until: u32) {
        let is_over = |Reverse(open): &Reverse<Open>| open.ends <= until;
        while self.open.peek().is_some_and(is_over) {
            let Some(Reverse(open)) = self.open.pop() else { return };
            if let Some(account) = self.accounts.iter_mut().find(|it| it.id == open.slot) {
                account.spend(open.ends);
            }
            self.pool.leave(&open.slot, open.place);
        }
    }

    /// Asks those accounts what is left of which no answer has said it lately.
    fn refresh(&mut self, at: u32) {
        let now = moment(self.start, at);
        for account in &mut self.accounts {
            let read_at = self.pool.slot(&account.id).and_then(|slot| slot.usage.read_at);
            let oldest = now.wall - SignedDuration::from_secs(REFRESH.into());
            if read_at.is_none_or(|read_at| read_at <= oldest) {
                account.settle(at);
                self.pool.read(&account.id, &account.reading(Source::Route, now), now);
            }
        }
    }

    fn sample(&mut self) {
        let at = self.sampled_at;
        self.end_answers(at);
        let mut used = [0.0; 3];
        for (used, account) in used.iter_mut().zip(&mut self.accounts) {
            account.settle(at);
            *used = account.week.used;
        }
        self.row.course.push(used);
        self.sampled_at += SAMPLE;
    }

    fn finish(mut self) -> Row {
        while self.row.course.len() < N_SAMPLES {
            self.sample();
        }
        self.row
    }
}

/// Lines under construction.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn add(&mut self, line: fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _written = writeln!(self.0, "{line}");
    }

    fn table<const N: usize>(&mut self, head: [&str; N], rows: impl Iterator<Item = [String; N]>) {
        self.add(format_args!("\n| {} |\n|{}", head.join(" | "), "---|".repeat(N)));
        for row in rows {
            self.add(format_args!("| {} |", row.join(" | ")));
        }
    }
}

fn of(rows: &[Row], policy: Policy, binding: Binding) -> Option<&Row> {
    rows.iter().find(|row| row.policy == policy && row.binding == binding)
}

/// The text of `docs/slots-week.md`.
pub fn page(rows: &[Row]) -> String {
    let mut page = Lines(HEAD.to_owned());
    about_accounts(&mut page);
    about_turns(&mut page);
    let parts = [(Binding::Bound, "With affinity"), (Binding::Free, "Without affinity")];
    for (binding, title) in parts {
        page.add(format_args!("\n## {title}"));
        page.table(
            [
                "policy",
                "served",
                "refused",
                "without a slot",
                "met a limit",
                "of these moved on",
                "week of slot-1",
                "of slot-2",
                "of slot-3",
                "cache hits",
            ],
            rows.iter().filter(|row| row.binding == binding).map(cells),
        );
    }
    about_affinity(&mut page, rows);
    page.0
}

const HEAD: &str = "\
<!-- Written by `cargo xtask week`; do not edit. -->

# A simulated week

What each policy makes of one week of work with three accounts.
The choice of slots is the real one; the upstream, the agents and their time are made up.

![How much of each account's week is used up, and how often a turn finds the cache](slots-week.svg)

## What is simulated
";

fn about_accounts(page: &mut Lines) {
    page.table(
        ["account", "plan", "a turn costs of 5 h", "of the week", "used up before"],
        PLANS.iter().map(|plan| {
            let [five_hours, week] = plan.turn;
            [
                plan.account.to_owned(),
                plan.plan.to_owned(),
                format!("{five_hours} %"),
                format!("{week} %"),
                format!("{} %", plan.used),
            ]
        }),
    );
    page.add(format_args!(
        "\nThese costs are made up; what matters is that a larger plan goes further.\n\
         A window begins with its first use and ends after its length; while it is full, its \
         account refuses.\n\
         What is left is told by every answer, in whole percents and without the answer itself.\n\
         An account that has told nothing for five minutes is asked."
    ));
}

fn about_turns(page: &mut Lines) {
    let turns = turns();
    let (mut last, mut followed) = (HashMap::new(), 0);
    for turn in &turns {
        let before = last.insert(turn.dialogue, turn.at);
        followed += u32::from(before.is_some_and(|before| turn.at - before < CACHED));
    }
    let (n, dialogues) = (turns.len(), last.len());
    let most = percent(followed, u32::try_from(n).unwrap_or(u32::MAX));
    page.add(format_args!(
        "\nAgents come in bursts of one to four, on weekdays from 9 to 18 and now and then at the \
         weekend.\n\
         Each has a dialogue of 4 to 15 turns, with pauses of up to two minutes and a longer one \
         now and then.\n\
         That makes {n} turns of {dialogues} dialogues, the same for every policy.\n\
         A turn hits the cache if the slot that serves it served the last turn of its dialogue \
         less than half an hour before.\n\
         For {most:.0} % of the turns that is possible.\n\
         A hit is counted and makes nothing cheaper here.\n\
         A request that an account refuses has met a limit, and moves on if another can serve it.\n\
         A request for which there is no slot is refused and not asked again; \"without a slot\" \
         is the time for which all of these were told to wait."
    ));
}

fn cells(row: &Row) -> [String; 10] {
    let [one, two, three] = row.week_used().map(|used| format!("{used:.0} %"));
    let hours = row.dry.as_secs_f64() / f64::from(HOUR);
    let dry = if row.dry.is_zero() { "–".to_owned() } else { format!("{hours:.1} h") };
    [
        format!("`{}`", row.policy),
        row.served.to_string(),
        row.refused.to_string(),
        dry,
        row.limited.to_string(),
        row.moved.to_string(),
        one,
        two,
        three,
        format!("{:.0} %", row.hit_share()),
    ]
}

fn about_affinity(page: &mut Lines, rows: &[Row]) {
    let policy = Policy::default();
    let share = |binding| of(rows, policy, binding).map_or(0.0, Row::hit_share);
    let (bound, free) = (share(Binding::Bound), share(Binding::Free));
    page.add(format_args!(
        "\n## What affinity is worth\n\n\
         Under `{policy}`, which is the default, {bound:.0} % of the turns hit the cache with \
         affinity and {free:.0} % without."
    ));
}

const WIDTH: u32 = 760;
const HEIGHT: u32 = 590;
/// Blue, amber and green that can be told apart, also on dark ground and by their dashes.
const STROKES: [(&str, &str); 3] = [("#3b82f6", "none"), ("#d97706", "8 3"), ("#059669", "2 3")];
const STYLE: &str = "\
<style>
svg { color: #1f2328; font: 12px system-ui, sans-serif; }
@media (prefers-color-scheme: dark) { svg { color: #e6edf3; } }
text { fill: currentColor; }
.head { font-size: 14px; font-weight: 600; }
.end { text-anchor: end; }
.middle { text-anchor: middle; }
.grid { stroke: currentColor; stroke-opacity: 0.2; }
.course { fill: none; stroke-width: 2; }
.bound { fill: #3b82f6; }
.free { fill: currentColor; fill-opacity: 0.35; }
</style>";

/// The picture beside it, `docs/slots-week.svg`.
pub fn picture(rows: &[Row]) -> String {
    let mut svg = Lines::default();
    svg.add(format_args!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">"#
    ));
    svg.add(format_args!("<title>A simulated week of three accounts</title>\n{STYLE}"));
    draw_frame(&mut svg);
    if let Some(row) = of(rows, Policy::default(), Binding::Bound) {
        draw_course(&mut svg, row);
    }
    draw_hits(&mut svg, rows);
    svg.add(format_args!("</svg>"));
    svg.0
}

/// Where the chart of the week stands: its left, its width, its foot and its height.
const CHART: [f64; 4] = [60.0, 670.0, 270.0, 200.0];

fn across(seconds: u32) -> f64 {
    let [left, width, ..] = CHART;
    left + width * f64::from(seconds) / f64::from(WEEK)
}

fn up(percent: f64) -> f64 {
    let [.., foot, height] = CHART;
    foot - height * percent.clamp(0.0, 100.0) / 100.0
}

fn draw_frame(svg: &mut Lines) {
    let policy = Policy::default();
    svg.add(format_args!(
        r#"<text class="head" x="60" y="24">Used of each account's week under {policy}</text>"#
    ));
    for percent in [0.0, 25.0, 50.0, 75.0, 100.0] {
        let (left, right, y) = (across(0), across(WEEK), up(percent));
        svg.add(format_args!(
            r#"<line class="grid" x1="{left:.0}" y1="{y:.0}" x2="{right:.0}" y2="{y:.0}"/>"#
        ));
        let y = y + 4.0;
        svg.add(format_args!(r#"<text class="end" x="52" y="{y:.0}">{percent} %</text>"#));
    }
    let [.., foot, height] = CHART;
    let head = foot - height;
    for (day, name) in (0..).zip(["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]) {
        let (x, middle) = (across(day * DAY), across(day * DAY + DAY / 2));
        svg.add(format_args!(
            r#"<line class="grid" x1="{x:.1}" y1="{head:.0}" x2="{x:.1}" y2="{foot:.0}"/>"#
        ));
        svg.add(format_args!(r#"<text class="middle" x="{middle:.1}" y="288">{name}</text>"#));
    }
}

fn draw_course(svg: &mut Lines, row: &Row) {
    let places = [60, 210, 360];
    for (n, ((plan, (color, dashes)), x)) in PLANS.iter().zip(STROKES).zip(places).enumerate() {
        let stroke = format!(r#"class="course" stroke="{color}" stroke-dasharray="{dashes}""#);
        let (account, name) = (plan.account, plan.plan);
        let (end, text) = (x + 28, x + 36);
        svg.add(format_args!(r#"<path {stroke} d="M{x} 46H{end}"/>"#));
        svg.add(format_args!(r#"<text x="{text}" y="50">{account}, {name}</text>"#));
        let points: Vec<_> = (0_u32..)
            .zip(&row.course)
            .map(|(sample, used)| format!("{:.1},{:.1}", across(sample * SAMPLE), up(used[n])))
            .collect();
        svg.add(format_args!(r#"<polyline {stroke} points="{}"/>"#, points.join(" ")));
    }
}

fn draw_hits(svg: &mut Lines, rows: &[Row]) {
    svg.add(format_args!(r#"<text class="head" x="60" y="330">Turns that hit the cache</text>"#));
    for (x, class, name) in [(60, "bound", "with affinity"), (210, "free", "without")] {
        let text = x + 36;
        svg.add(format_args!(r#"<rect class="{class}" x="{x}" y="343" width="28" height="9"/>"#));
        svg.add(format_args!(r#"<text x="{text}" y="352">{name}</text>"#));
    }
    for (n, policy) in (0_u32..).zip(Policy::ALL) {
        let y = 370 + 27 * n;
        let middle = y + 13;
        svg.add(format_args!(r#"<text class="end" x="192" y="{middle}">{policy}</text>"#));
        let bars = [(y, Binding::Bound, "bound"), (y + 10, Binding::Free, "free")];
        for (y, binding, class) in bars {
            let share = of(rows, policy, binding).map_or(0.0, Row::hit_share);
            let (width, foot) = (4.8 * share, y + 8);
            let end = 206.0 + width;
            svg.add(format_args!(
                r#"<rect class="{class}" x="200" y="{y}" width="{width:.1}" height="9"/>"#
            ));
            svg.add(format_args!(
                r#"<text x="{end:.1}" y="{foot}" font-size="10">{share:.0} %</text>"#
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    fn affinity_finds_the_cache_and_no_request_is_lost() {
        let start = Instant::now();
        let rows = report(start);
        assert_eq!(report(start + Duration::from_secs(1)), rows, "it is the same every time");
        let asked = u32::try_from(turns().len()).expect("few");
        for row in &rows {
            let Row { policy, binding, served, refused, limited, moved, .. } = row;
            assert_eq!((row.asked, served + refused), (asked, asked), "{policy} {binding:?}");
            assert!(moved <= limited && limited <= &asked, "{policy} {binding:?}");
            assert_eq!(row.course.len(), N_SAMPLES);
        }
        let hits = |binding| of(&rows, Policy::default(), binding).map(|row| row.hits);
        assert!(hits(Binding::Bound) > hits(Binding::Free));
        // Without limits everything would be served: there are some, and they are met.
        let ordered = of(&rows, Policy::Ordered, Binding::Bound).expect("a row");
        assert!(ordered.limited > 0 && ordered.refused > 0 && !ordered.dry.is_zero());
        assert!(page(&rows).ends_with(".\n") && picture(&rows).ends_with("</svg>\n"));
    }
}
