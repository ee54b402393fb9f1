//! Who is chosen and why, in tables; and long random histories, held to a model that only counts.

mod apart;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::*;
use crate::slot::{
    week::Seeded,
    window::{Family, Limits, MAIN, Span, Window},
};

const SETTINGS: Settings = Settings {
    policy: Policy::Ordered,
    thresholds: Thresholds { five_hours: 15.0, week: 10.0 },
    reserve: 0.0,
    concurrent: 0,
    affinity: affinity::Settings { most: 100, keep: Duration::from_hours(1) },
};
const DAY: u32 = 86_400;

#[expect(clippy::disallowed_methods, reason = "any moment will do")]
fn start() -> Moment {
    Moment { wall: Timestamp::from_second(1_000_000).expect("a time"), instant: Instant::now() }
}

fn after(start: Moment, seconds: u32) -> Moment {
    Moment {
        wall: start.wall + SignedDuration::from_secs(seconds.into()),
        instant: start.instant + Duration::from_secs(seconds.into()),
    }
}

fn id(number: u32) -> SlotId {
    SlotId::numbered(number)
}

/// `slot-1` and so on, with these wishes.
fn pool(settings: Settings, wishes: &[Wishes]) -> Pool {
    let mut pool = Pool::new(settings);
    let listed: Vec<_> = (1..).map(id).zip(wishes.iter().cloned()).collect();
    pool.reconcile(&listed);
    pool
}

fn plain(n: usize) -> Pool {
    pool(SETTINGS, &vec![Wishes::default(); n])
}

/// Somebody who came at `since` and wants nothing in particular.
fn ask(since: Moment) -> Ask<'static> {
    Ask { session: None, model: None, tried: &[], only: None, since: since.instant }
}

/// Who is chosen and why, or what keeps each from serving. The place stays taken.
fn choose(pool: &mut Pool, ask: Ask<'_>, now: Moment) -> String {
    said(&pool.choose(ask, now))
}

/// The same, and the place is free again.
fn glance(pool: &mut Pool, ask: Ask<'_>, now: Moment) -> String {
    let chosen = pool.choose(ask, now);
    if let Ok(choice) = &chosen {
        pool.leave(&choice.id, choice.number);
    }
    said(&chosen)
}

fn said(chosen: &Result<Choice, NoSlot>) -> String {
    match chosen {
        Ok(choice) => format!("{} by {}", choice.id, choice.reason.as_str()),
        Err(none) => keys(&none.looks),
    }
}

fn keys(looks: &[Look]) -> String {
    let key = |look: &Look| format!("{} {}", look.id, look.verdict.key());
    looks.iter().map(key).collect::<Vec<_>>().join(", ")
}

fn fault(why: Why, until: Option<Moment>) -> Fault {
    Fault { why, until: until.map(|until| until.wall) }
}

fn limit(until: Option<Moment>) -> Fault {
    fault(Why::UsageLimit { span: None }, until)
}

/// What an answer tells at `now`: of each window its minutes, its used percent, and in how many
/// seconds it resets.
fn reading(windows: &[(u64, f64, u32)], now: Moment) -> Reading {
    let window = |(minutes, used_percent, seconds): &(u64, f64, u32)| Window {
        used_percent: *used_percent,
        minutes: Some(*minutes),
        resets_at: Some(after(now, *seconds).wall),
    };
    let windows = windows.iter().map(window).collect();
    let families = vec![Family { id: MAIN.to_owned(), name: None, windows }];
    Reading::new(Limits { families, ..Limits::default() }, Source::Answer, now.instant, now)
}

/// A pool of twelve slots, each of which looks different 20 seconds after `t0`.
fn all_sorts(t0: Moment) -> Pool {
    let mut wishes = vec![Wishes::default(); 12];
    wishes[5].is_enabled = false;
    wishes[6].is_paused = true;
    wishes[7].models = vec!["other".to_owned()];
    wishes[11].reserve = Some(20.0);
    let mut pool = pool(Settings { concurrent: 1, ..SETTINGS }, &wishes);
    let end = Some(after(t0, 3_600));
    for (number, fault) in [
        (2, fault(Why::RateLimit, None)),
        (3, fault(Why::RateLimit, None)),
        (9, fault(Why::Rejected, end)),
        (10, fault(Why::NeedsLogin("its login is gone.".to_owned()), end)),
        (11, limit(end)),
    ] {
        pool.failed(&id(number), None, fault, (t0.instant, t0));
    }
    pool.read(&id(12), &reading(&[(300, 85.0, 3_600)], t0), t0);
    let now = after(t0, 20);
    for taken in [id(3), id(4)] {
        pool.choose(Ask { only: Some(&taken), ..ask(now) }, now).expect("by name");
    }
    pool
}

#[test]
fn of_every_slot_it_is_said_whether_it_can_serve_and_why_not() {
    let t0 = start();
    let (now, end) = (after(t0, 20), after(t0, 3_600).wall);
    let mut pool = all_sorts(t0);
    let wanted = Ask { model: Some("m"), tried: &[id(5)], ..ask(now) };
    let choice = pool.choose(wanted, now).expect("one can serve");
    assert_eq!((choice.id, choice.reason), (id(1), Reason::Policy(Policy::Ordered)));
    let said: Vec<_> = choice
        .looks
        .iter()
        .map(|Look { id, verdict }| {
            let until = verdict.until().map_or("", |until| if until == end { "!" } else { "?" });
            format!("{id} {}{until}: {}", verdict.key(), verdict.sentence())
        })
        .collect();
    let expected = [
        "slot-1 ready: it can serve",
        "slot-2 may_probe: its rest is over and one request may go first",
        "slot-3 probed: one request is seeing whether it serves again",
        "slot-4 full: all its places are taken",
        "slot-5 tried: it was tried for this request",
        "slot-6 disabled: it is disabled",
        "slot-7 paused: it is paused",
        "slot-8 model: it does not serve this model",
        "slot-9 cooling!: its login is not accepted",
        "slot-10 needs_login: its login is gone",
        "slot-11 exhausted!: its usage limit is reached",
        "slot-12 reserved!: what is left of the 5 h window (15 %) is reserved",
    ];
    assert_eq!(said, expected);
    let first = id(1);
    let none = pool.choose(Ask { only: Some(&first), ..ask(now) }, now).expect_err("full");
    let others = none.looks.iter().filter(|look| look.verdict == Verdict::NotAsked).count();
    assert_eq!((others, none.looks[0].verdict.key(), none.is_full), (11, "full", true));
    assert_eq!(none.looks[1].verdict.sentence(), "another slot was asked for");
}

#[test]
fn who_asks_for_a_slot_by_name_hears_what_it_says() {
    let t0 = start();
    let now = after(t0, 20);
    let mut pool = all_sorts(t0);
    for (number, expected) in [
        (1, "slot-1 by ordered"),
        (2, "slot-2 by ordered"),
        (4, "slot-4 full"),
        (5, "slot-5 tried"),
        (6, "slot-6 by ordered"),
        (7, "slot-7 by ordered"),
        (8, "slot-8 model"),
        (9, "slot-9 by ordered"),
        (10, "slot-10 by ordered"),
        (11, "slot-11 by ordered"),
        (12, "slot-12 by ordered"),
    ] {
        let only = id(number);
        let wanted = Ask { only: Some(&only), model: Some("m"), tried: &[id(5)], ..ask(now) };
        let said = glance(&mut pool, wanted, now);
        let own = said.split(", ").find(|part| !part.ends_with("not_asked"));
        assert_eq!(own, Some(expected));
    }
    let nobody = id(13);
    let none = pool.choose(Ask { only: Some(&nobody), ..ask(now) }, now).expect_err("unknown");
    assert_eq!((none.looks.len(), none.is_full, none.wait), (12, false, None));
}

#[test]
fn a_dialogue_stays_where_it_is_and_others_go_round() {
    let t0 = start();
    let mut pool = plain(2);
    pool.set_policy(Policy::RoundRobin);
    let of = |session| Ask { session: Some(session), ..ask(t0) };
    assert_eq!(glance(&mut pool, of("a"), t0), "slot-1 by round-robin");
    pool.bind("a", &id(1), &[7, 8], t0);
    assert_eq!(glance(&mut pool, of("b"), t0), "slot-2 by round-robin");
    pool.bind("b", &id(2), &[], t0);
    for _ in 0..3 {
        let choice = pool.choose(of("a"), t0).expect("its own");
        assert_eq!((choice.id, choice.reason), (id(1), Reason::Affinity));
        assert_eq!((choice.foreign, choice.former), (vec![7, 8], None));
        assert_eq!(glance(&mut pool, of("b"), t0), "slot-2 by affinity");
    }
    assert_eq!(glance(&mut pool, ask(t0), t0), "slot-1 by round-robin");
    let late = after(t0, 3_600);
    assert_eq!(glance(&mut pool, of("a"), late), "slot-2 by round-robin", "it is forgotten");
}

#[test]
fn a_dialogue_whose_slot_cannot_serve_goes_elsewhere_and_moves_only_when_that_is_said() {
    let t0 = start();
    let mut pool = pool(Settings { concurrent: 1, ..SETTINGS }, &vec![Wishes::default(); 2]);
    let wanted = Ask { session: Some("a"), ..ask(t0) };
    pool.bind("a", &id(1), &[7], t0);
    let own = pool.choose(wanted, t0).expect("its own");
    let other = pool.choose(wanted, t0).expect("the other");
    assert_eq!((&other.id, other.former, other.foreign), (&id(2), Some(id(1)), vec![]));
    assert_eq!(choose(&mut pool, wanted, t0), "slot-1 full, slot-2 full");
    pool.leave(&own.id, own.number);
    pool.leave(&other.id, other.number);
    assert_eq!(glance(&mut pool, wanted, t0), "slot-1 by affinity", "spilling binds nobody");
    pool.failed(&id(1), None, limit(Some(after(t0, 900))), (t0.instant, t0));
    assert_eq!(glance(&mut pool, wanted, t0), "slot-2 by ordered");
    pool.bind("a", &id(2), &[7, 9], t0);
    let moved = pool.choose(wanted, t0).expect("its new one");
    assert_eq!((moved.id, moved.reason), (id(2), Reason::Affinity));
    assert_eq!((moved.former, moved.foreign), (None, vec![7, 9]));
    pool.leave(&id(2), moved.number);
    // That it could go back is no reason to.
    pool.clear(None);
    assert_eq!(glance(&mut pool, wanted, t0), "slot-2 by affinity");
}

#[test]
fn the_last_resort_and_later_priorities_serve_when_nobody_before_them_can() {
    let t0 = start();
    let last = Wishes { is_last_resort: true, priority: -9, ..Wishes::default() };
    let late = Wishes { priority: 5, ..Wishes::default() };
    for policy in Policy::ALL {
        let wishes = [last.clone(), late.clone(), Wishes::default(), Wishes::default()];
        let mut pool = pool(Settings { policy, ..SETTINGS }, &wishes);
        let mut tried: Vec<SlotId> = Vec::new();
        while let Ok(choice) = pool.choose(Ask { tried: &tried, ..ask(t0) }, t0) {
            tried.push(choice.id);
        }
        tried[..2].sort();
        assert_eq!(tried, [id(3), id(4), id(2), id(1)], "{policy}");
        // A dialogue stays even there.
        pool.bind("a", &id(1), &[], t0);
        let wanted = Ask { session: Some("a"), ..ask(t0) };
        assert_eq!(glance(&mut pool, wanted, t0), "slot-1 by affinity", "{policy}");
    }
}

#[test]
fn a_model_is_asked_where_it_is_allowed_and_known_or_where_nobody_knows_it() {
    let t0 = start();
    let mut wishes = vec![Wishes::default(); 4];
    wishes[0].models = vec!["A".to_owned()];
    let mut pool = pool(SETTINGS, &wishes);
    pool.set_models(&id(2), ["b".to_owned(), "c".to_owned()].into());
    pool.set_models(&id(3), ["C".to_owned()].into());
    let able = |pool: &mut Pool, model| {
        let mut tried: Vec<SlotId> = Vec::new();
        while let Ok(choice) = pool.choose(Ask { model, tried: &tried, ..ask(t0) }, t0) {
            pool.leave(&choice.id, choice.number);
            tried.push(choice.id);
        }
        tried.iter().map(|id| id.as_str().trim_start_matches("slot-")).collect::<String>()
    };
    for (model, expected) in [
        (None, "1234"),
        (Some("a"), "1234"),
        (Some("B"), "24"),
        (Some("c"), "234"),
        (Some("unheard-of"), "234"),
    ] {
        assert_eq!(able(&mut pool, model), expected, "{model:?}");
    }
    // With whoever knew it gone, nobody knows it.
    let rest: Vec<_> = [1, 3, 4].map(id).into_iter().zip(wishes).collect();
    pool.reconcile(&rest);
    assert_eq!(able(&mut pool, Some("b")), "34");
}

#[test]
fn the_reserve_is_kept_even_when_there_is_no_other_slot() {
    let t0 = start();
    let mut pool = pool(Settings { reserve: 20.0, ..SETTINGS }, &[Wishes::default()]);
    assert_eq!(glance(&mut pool, ask(t0), t0), "slot-1 by ordered", "nothing is known");
    pool.read(&id(1), &reading(&[(300, 79.0, 900), (10_080, 80.0, 5_000)], t0), t0);
    let none = pool.choose(ask(t0), t0).expect_err("kept");
    assert_eq!(keys(&none.looks), "slot-1 reserved");
    assert_eq!((none.is_full, none.wait), (false, Some(Duration::from_secs(5_000))));
    // Nor is there any hope beyond it.
    pool.failed(&id(1), None, fault(Why::RateLimit, None), (t0.instant, t0));
    let soon = after(t0, 1);
    assert_eq!(choose(&mut pool, ask(soon), soon), "slot-1 cooling");
    assert_eq!(choose(&mut pool, ask(soon), after(t0, 4_999)), "slot-1 reserved");
    assert_eq!(glance(&mut pool, ask(soon), after(t0, 5_000)), "slot-1 by ordered");
    let own = Wishes { reserve: Some(0.0), ..Wishes::default() };
    pool.reconcile(&[(id(1), own)]);
    assert_eq!(glance(&mut pool, ask(t0), after(t0, 20)), "slot-1 by ordered", "its own counts");
}

#[test]
fn after_a_rest_one_goes_first_and_the_others_follow_its_answer() {
    let t0 = start();
    let mut pool = plain(1);
    pool.failed(&id(1), None, limit(Some(after(t0, 900))), (t0.instant, t0));
    let now = after(t0, 900);
    let probe = pool.choose(ask(now), now).expect("the first");
    assert!(probe.is_probe);
    let none = pool.choose(ask(now), now).expect_err("the second");
    assert_eq!((keys(&none.looks), none.is_full), ("slot-1 probed".to_owned(), true));
    pool.leave(&id(1), probe.number);
    assert!(pool.choose(ask(now), now).expect("it came to nothing").is_probe);
    pool.answered(&id(1), None, now.instant);
    assert!(!pool.choose(ask(now), now).expect("another").is_probe);
    assert_eq!(choose(&mut pool, ask(now), now), "slot-1 by ordered");
    let slot = pool.slot(&id(1)).expect("there");
    assert_eq!((slot.in_flight, slot.n_served, slot.n_failed), (3, 1, 1));
    assert_eq!((&slot.last_error, slot.last_used), (&None, Some(now.wall)));
}

#[test]
fn when_nobody_is_left_the_one_that_comes_back_first_is_tried_once_a_minute() {
    let t0 = start();
    let mut pool = plain(3);
    for (number, seconds) in [(1, 9_000), (2, 5_000), (3, 7_000)] {
        pool.failed(&id(number), None, limit(Some(after(t0, seconds))), (t0.instant, t0));
    }
    let all = "slot-1 exhausted, slot-2 exhausted, slot-3 exhausted";
    let soon = after(t0, 59);
    assert_eq!(choose(&mut pool, ask(soon), soon), all);
    let now = after(t0, 60);
    assert_eq!(choose(&mut pool, ask(t0), now), all, "whoever was there shares the failure");
    let hope = pool.choose(ask(now), now).expect("the one that comes back first");
    assert_eq!((&hope.id, hope.reason), (&id(2), Reason::Hope));
    let probed = "slot-1 exhausted, slot-2 probed, slot-3 exhausted";
    assert_eq!(choose(&mut pool, ask(now), now), probed, "one at a time");
    pool.failed(&id(2), None, limit(Some(after(t0, 5_000))), (now.instant, now));
    pool.leave(&id(2), hope.number);
    let tried = [id(2)];
    let again = Ask { tried: &tried, ..ask(now) };
    let all = "slot-1 exhausted, slot-2 tried, slot-3 exhausted";
    assert_eq!(choose(&mut pool, again, now), all, "one is enough for one request");
    pool.answered(&id(3), None, now.instant);
    assert_eq!(glance(&mut pool, ask(now), now), "slot-3 by ordered");
}

#[test]
fn it_is_said_how_long_it_takes_until_one_serves_again() {
    let t0 = start();
    let login = || fault(Why::NeedsLogin(String::new()), None);
    let in_time = |seconds| Some(after(t0, seconds));
    for (faults, seconds) in [
        (vec![login()], None),
        (vec![limit(in_time(500)), fault(Why::Rejected, in_time(400)), login()], Some(400)),
        (vec![limit(in_time(40 * DAY))], Some(32 * u64::from(DAY))),
    ] {
        let mut pool = plain(faults.len());
        for (number, fault) in (1..).zip(faults) {
            pool.failed(&id(number), None, fault, (t0.instant, t0));
        }
        let none = pool.choose(ask(t0), t0).expect_err("nobody");
        assert_eq!((none.wait, none.is_full), (seconds.map(Duration::from_secs), false));
    }
    // The clock on which the rest ends first counts, as when the machine has slept.
    let mut pool = plain(1);
    pool.failed(&id(1), None, limit(in_time(500)), (t0.instant, t0));
    let slept = Moment { wall: after(t0, 300).wall, ..after(t0, 10) };
    let none = pool.choose(ask(t0), slept).expect_err("it rests");
    assert_eq!(none.wait, Some(Duration::from_secs(200)));
    let none = Pool::new(SETTINGS).choose(ask(t0), t0).expect_err("there are none");
    assert_eq!(none, NoSlot { looks: Vec::new(), is_full: false, wait: None });
}

#[test]
fn a_window_that_is_used_up_stops_nobody_until_somebody_says_so() {
    let t0 = start();
    let mut pool = pool(
        Settings { policy: Policy::BestWeekThenFiveHours, ..SETTINGS },
        &vec![Wishes::default(); 2],
    );
    let used = |used, now| reading(&[(300, used, 900), (10_080, 10.0, 9_000)], now);
    // There may be credits: it is only the last one to be asked.
    assert!(!pool.read(&id(1), &used(100.0, t0), t0));
    pool.read(&id(2), &used(50.0, t0), t0);
    assert_eq!(glance(&mut pool, ask(t0), t0), "slot-2 by best-week-then-5h");
    let wanted = Ask { tried: &[id(2)], ..ask(t0) };
    assert_eq!(glance(&mut pool, wanted, t0), "slot-1 by best-week-then-5h");
    // The upstream was asked, and says so.
    let later = after(t0, 10);
    let mut told = used(100.0, later);
    told.source = Source::Route;
    assert!(!pool.read(&id(1), &told, later));
    told.limits.reached = Some("rate_limit_reached".to_owned());
    assert!(pool.read(&id(1), &told, later));
    let none = pool.choose(Ask { tried: &[id(2)], ..ask(t0) }, later).expect_err("used up");
    let until = after(later, 900).wall;
    let exhausted = Verdict::Exhausted { span: Some(Span::FiveHours), until, is_evident: true };
    assert_eq!(none.looks[0], Look { id: id(1), verdict: exhausted });
    assert!(!pool.read(&id(1), &used(50.0, t0), later), "it is older");
    assert_eq!(pool.slot(&id(1)).map(|slot| pool.state(slot, later).key()), Some("exhausted"));
    let latest = after(t0, 20);
    assert!(pool.read(&id(1), &used(50.0, latest), latest));
    assert_eq!(glance(&mut pool, wanted, latest), "slot-1 by best-week-then-5h");
    assert!(!pool.read(&id(9), &used(50.0, latest), latest), "nobody is called so");
}

/// A request that thinks for minutes once held up all others after a rest.
#[test]
fn whoever_goes_first_holds_up_the_others_for_seconds_only() {
    let t0 = start();
    let mut pool = plain(1);
    pool.failed(&id(1), None, limit(Some(after(t0, 900))), (t0.instant, t0));
    let now = after(t0, 900);
    assert!(pool.choose(ask(now), now).expect("the first").is_probe);
    let none = pool.choose(ask(now), after(now, 1)).expect_err("the second");
    assert_eq!((none.is_full, none.wait), (true, Some(Duration::from_secs(2))));
    let later = after(now, 3);
    let second = pool.choose(ask(later), later).expect("it was not refused");
    assert!(!second.is_probe);
    pool.failed(&id(1), None, limit(Some(after(t0, 9_000))), (now.instant, later));
    assert_eq!(choose(&mut pool, ask(later), later), "slot-1 exhausted");
    // Where there was only hope, nobody follows before it is answered.
    let now = after(later, 60);
    assert_eq!(choose(&mut pool, ask(now), now), "slot-1 by last-hope");
    assert_eq!(choose(&mut pool, ask(now), after(now, 9)), "slot-1 exhausted");
}

#[test]
fn a_fault_of_another_kind_ends_no_rest() {
    let t0 = start();
    let mut pool = plain(1);
    pool.failed(&id(1), None, limit(Some(after(t0, 9_000))), (t0.instant, t0));
    let now = after(t0, 60);
    assert_eq!(choose(&mut pool, ask(now), now), "slot-1 by last-hope");
    pool.failed(&id(1), None, fault(Why::RateLimit, None), (now.instant, now));
    assert_eq!(choose(&mut pool, ask(now), after(now, 30)), "slot-1 exhausted");
    // A login that has died is what the owner must hear of; mended, the rest is as it was.
    let gone = Why::NeedsLogin("it is gone.".to_owned());
    pool.failed(&id(1), None, fault(gone, None), (now.instant, now));
    assert_eq!(choose(&mut pool, ask(t0), now), "slot-1 needs_login");
    pool.login_changed(&id(1));
    assert_eq!(choose(&mut pool, ask(t0), after(now, 40)), "slot-1 exhausted");
    assert!(!pool.owned_by(&id(1), 7) && !pool.owned_by(&id(1), 7));
    assert!(pool.owned_by(&id(1), 8), "another account's");
    assert_eq!(choose(&mut pool, ask(now), now), "slot-1 by ordered");
}

#[test]
fn what_was_asked_too_often_is_not_cut_short_by_what_is_left() {
    let t0 = start();
    let mut pool = plain(1);
    pool.failed(&id(1), None, fault(Why::RateLimit, Some(after(t0, 90))), (t0.instant, t0));
    let later = after(t0, 5);
    assert!(!pool.read(&id(1), &reading(&[(300, 10.0, 900)], later), later));
    assert_eq!(choose(&mut pool, ask(t0), later), "slot-1 cooling");
}

#[test]
fn the_state_of_a_turn_goes_back_to_its_giver_only() {
    let t0 = start();
    let mut pool = plain(2);
    pool.gave_turn(7, &id(1), t0);
    assert!(pool.has_given_turn(7, "a", &id(1), t0));
    assert!(!pool.has_given_turn(7, "a", &id(2), t0));
    // What nobody knows is the slot's that has the dialogue, if it had it before.
    assert!(!pool.has_given_turn(8, "a", &id(1), t0));
    pool.bind("a", &id(1), &[], t0);
    assert!(!pool.has_given_turn(8, "a", &id(1), t0), "it was a stranger's");
    assert!(pool.has_given_turn(9, "a", &id(1), t0));
}

#[test]
fn a_limit_without_a_window_is_that_of_the_window_that_is_used_up() {
    let t0 = start();
    let mut pool = plain(1);
    let windows = reading(&[(300, 100.0, 900), (10_080, 10.0, 9_000)], t0);
    let refusal = Reading { source: Source::Refusal, ..windows };
    assert!(pool.read(&id(1), &refusal, t0));
    assert_eq!(glance(&mut pool, ask(t0), t0), "slot-1 by ordered", "the failure says the rest");
    pool.failed(&id(1), None, limit(None), (t0.instant, t0));
    let slot = pool.slot(&id(1)).expect("there");
    let until = after(t0, 900).wall;
    let exhausted = Verdict::Exhausted { span: Some(Span::FiveHours), until, is_evident: true };
    assert_eq!(pool.state(slot, t0), exhausted);
    assert_eq!(slot.last_error.as_deref(), Some("its usage limit is reached"));
}

#[test]
fn the_slots_are_those_that_are_listed_and_what_is_known_of_them_stays() {
    let t0 = start();
    let mut pool = plain(3);
    let listed = |numbers: &[u32]| -> Vec<_> {
        numbers.iter().map(|number| (id(*number), Wishes::default())).collect()
    };
    let names = |pool: &Pool| -> Vec<_> { pool.slots().map(|slot| slot.id.clone()).collect() };
    let held = pool.choose(ask(t0), t0).expect("the first");
    pool.failed(&id(2), None, limit(Some(after(t0, 900))), (t0.instant, t0));
    pool.reconcile(&listed(&[4, 2]));
    assert_eq!(names(&pool), [id(4), id(2)]);
    assert!(pool.slot(&held.id).is_none(), "it serves nobody any more");
    assert_eq!(choose(&mut pool, ask(t0), t0), "slot-4 by ordered");
    assert_eq!(pool.slot(&id(2)).map(|slot| pool.state(slot, t0).key()), Some("exhausted"));
    // Back before its last answer has ended, it is the same.
    pool.reconcile(&listed(&[1, 2]));
    assert_eq!(pool.slot(&id(1)).map(|slot| slot.in_flight), Some(1));
    pool.reconcile(&listed(&[2]));
    pool.leave(&held.id, held.number);
    pool.leave(&id(4), 0);
    assert_eq!(pool.slots.len(), 1);
    pool.reconcile(&listed(&[1, 2]));
    assert_eq!(pool.slot(&id(1)).map(|slot| slot.in_flight), Some(0));
    assert_eq!((pool.clear(None), pool.clear(None)), (1, 0));
}

/// The numbers of those who served in 1000 rounds with these percents used.
fn served(policy: Policy, used: [f64; 4]) -> String {
    let t0 = start();
    let mut pool = pool(Settings { policy, ..SETTINGS }, &vec![Wishes::default(); 4]);
    for (number, used) in (1..).zip(used) {
        let windows = [(300, used, 9_000), (10_080, used, 90_000)];
        pool.read(&id(number), &reading(&windows, t0), t0);
    }
    let mut served = BTreeSet::new();
    for _ in 0..1_000 {
        let choice = pool.choose(ask(t0), t0).expect("all can serve");
        pool.leave(&choice.id, choice.number);
        served.insert(choice.id);
    }
    served.iter().map(|id| id.as_str().trim_start_matches("slot-")).collect()
}

#[test]
fn nobody_starves_unless_the_policy_means_it() {
    for (policy, equal, unequal) in [
        (Policy::BestWeekThenFiveHours, "1234", "3"),
        (Policy::BestFiveHoursThenWeek, "1234", "3"),
        (Policy::LeastRecentlyUsed, "1234", "1234"),
        (Policy::Balanced, "1234", "3"),
        (Policy::Weighted, "1234", "1234"),
        (Policy::RoundRobin, "1234", "1234"),
        (Policy::PingPong, "1234", "1234"),
        (Policy::Ordered, "1", "1"),
    ] {
        assert_eq!(served(policy, [50.0; 4]), equal, "{policy}");
        assert_eq!(served(policy, [50.0, 60.0, 10.0, 55.0]), unequal, "{policy}");
    }
}

/// A place that the model knows to be taken.
#[derive(Clone)]
struct Held {
    id: SlotId,
    number: u64,
    is_probe: bool,
    session: Option<&'static str>,
    model: Option<&'static str>,
    sent: Instant,
}

/// A random history and what must be true of it, counted by other means than the pool's.
struct History {
    seed: u64,
    step: u32,
    dice: Seeded,
    pool: Pool,
    now: Moment,
    /// How far the wall clock was set from where it would be, in seconds.
    set_by: i64,
    listed: Vec<(SlotId, Wishes)>,
    held: Vec<Held>,
    /// Slots on which somebody goes first, alone, and of which nothing was heard since; and since
    /// when.
    probed: HashMap<SlotId, Instant>,
    /// Slots that may rest for one model, of which that is not counted.
    narrowed: HashSet<SlotId>,
    bound: HashMap<&'static str, (SlotId, Instant)>,
    /// How often what happened.
    seen: BTreeMap<&'static str, u32>,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut dice = Seeded(seed);
        let (reserve, concurrent) = (dice.pick(&[0.0, 10.0]), dice.below(4));
        let settings = Settings { reserve, concurrent, ..SETTINGS };
        let mut history = Self {
            seed,
            step: 0,
            dice,
            pool: Pool::new(settings),
            // There is something before it.
            now: after(start(), DAY),
            set_by: 0,
            listed: Vec::new(),
            held: Vec::new(),
            probed: HashMap::new(),
            narrowed: HashSet::new(),
            bound: HashMap::new(),
            seen: BTreeMap::new(),
        };
        history.reconcile();
        history
    }

    #[track_caller]
    fn must(&self, holds: bool, what: &str) {
        assert!(holds, "{what}: seed {:#x}, step {}", self.seed, self.step);
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.dice.below(n) == 0
    }

    fn some(&mut self) -> SlotId {
        id(1 + self.dice.below(5))
    }

    fn see(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn step(&mut self) {
        self.step += 1;
        match self.dice.below(100) {
            0..40 => self.choose(),
            40..62 => self.leave(),
            62..74 => self.hear(),
            74..80 => self.read(),
            80..85 => self.reconcile(),
            85..87 => self.clear(),
            87..89 => self.doubt(),
            89..97 => self.pass(),
            97 => self.sleep(),
            _ => self.set_clock(),
        }
        self.must_agree();
    }

    fn must_agree(&self) {
        for slot in &self.pool.slots {
            let n = self.held.iter().filter(|held| held.id == slot.id).count();
            self.must(usize::try_from(slot.in_flight) == Ok(n), "places are taken that nobody has");
            self.must(!slot.is_gone || n > 0, "a slot stays that nobody uses");
        }
        let is_there = |held: &Held| self.pool.slots.iter().any(|slot| slot.id == held.id);
        self.must(self.held.iter().all(is_there), "a slot is gone that somebody uses");
    }

    fn choose(&mut self) {
        let session = self.dice.pick(&[None, None, Some("a"), Some("b"), Some("c"), Some("d")]);
        let model = self.dice.pick(&[None, Some("a"), Some("B"), Some("c")]);
        let tried: Vec<_> = (0..self.dice.below(3)).map(|_| self.some()).collect();
        let only = self.one_in(16).then(|| self.some());
        let waited = Duration::from_secs(self.dice.below(120).into());
        let since = self.now.instant.checked_sub(waited).expect("there is something before it");
        let ask = Ask { session, model, tried: &tried, only: only.as_ref(), since };
        match self.pool.choose(ask, self.now) {
            Ok(choice) => {
                self.must_be_allowed(ask, &choice.id);
                self.must_stay(ask, &choice);
                self.enter((session, model), only.as_ref(), choice);
            }
            Err(none) => {
                self.see("none");
                self.must_be_needed(ask, &none);
            }
        }
    }

    /// Takes down that `choice` was made.
    fn enter(
        &mut self,
        (session, model): (Option<&'static str>, Option<&'static str>),
        only: Option<&SlotId>,
        choice: Choice,
    ) {
        let Choice { id, reason, number, is_probe, .. } = choice;
        self.see(match reason {
            Reason::Affinity => "affinity",
            Reason::Policy(_) => "policy",
            Reason::Hope => "hope",
        });
        let now = self.now.instant;
        let is_waited_for =
            |since: &Instant| now.saturating_duration_since(*since) < Duration::from_secs(3);
        let is_alone = !self.probed.get(&id).is_some_and(is_waited_for);
        let is_counted = !self.narrowed.contains(&id);
        self.must(!is_counted || only.is_some() || is_alone, "two go first");
        if is_probe {
            self.see("probe");
            self.probed.insert(id.clone(), now);
            self.must(!is_counted || is_alone, "two go first");
        }
        self.held.push(Held { id, number, is_probe, session, model, sent: self.now.instant });
    }

    fn must_be_allowed(&self, ask: Ask<'_>, id: &SlotId) {
        let slot = self.pool.slot(id);
        self.must(slot.is_some_and(|slot| self.may(slot, ask)), "who may not serve is chosen");
        // The place is taken already.
        let has_place = |slot: &Slot| self.has_place(slot.in_flight - 1);
        self.must(slot.is_some_and(has_place), "too many are on one slot");
    }

    fn has_place(&self, in_flight: u32) -> bool {
        let most = self.pool.settings.concurrent;
        most == 0 || in_flight < most
    }

    /// Whether nothing but its health and its places keeps `slot` from serving.
    fn may(&self, slot: &Slot, ask: Ask<'_>) -> bool {
        let reserve = slot.wishes.reserve.unwrap_or(self.pool.settings.reserve);
        let windows = slot.usage.windows(self.now.wall);
        let is_low = |window: &Window| window.left(self.now.wall) <= reserve;
        let is_reserved = reserve > 0.0 && windows.iter().any(is_low);
        let is_open = slot.wishes.is_enabled && !slot.wishes.is_paused && !is_reserved;
        let is_meant = ask.only.map_or(is_open, |only| *only == slot.id);
        let has_model = ask.model.is_none_or(|model| self.has(slot, model));
        is_meant && has_model && !ask.tried.contains(&slot.id)
    }

    fn has(&self, slot: &Slot, model: &str) -> bool {
        let lists = |list: &[String]| list.iter().any(|name| name.eq_ignore_ascii_case(model));
        let is_allowed = slot.wishes.models.is_empty() || lists(&slot.wishes.models);
        let is_known = self.pool.slots().any(|slot| slot.models.as_deref().is_some_and(lists));
        is_allowed && (!is_known || slot.models.as_deref().is_none_or(lists))
    }

    /// A dialogue is served by its own slot whenever that can serve.
    fn must_stay(&self, ask: Ask<'_>, choice: &Choice) {
        let bound = ask.session.and_then(|session| self.bound.get(session));
        let age = |last: Instant| self.now.instant.saturating_duration_since(last);
        let bound = bound.filter(|(_, last)| age(*last) < SETTINGS.affinity.keep);
        let owner = bound.map(|(owner, _)| owner);
        let can_serve = |look: &Look| Some(&look.id) == owner && look.verdict.can_serve();
        let is_able = choice.looks.iter().any(can_serve);
        self.must(is_able == (choice.reason == Reason::Affinity), "a dialogue strays");
        self.must(!is_able || owner == Some(&choice.id), "a dialogue is taken for another");
        let former = owner.filter(|owner| **owner != choice.id);
        self.must(choice.former.as_ref() == former, "whose it was is not what is said");
    }

    /// Nobody could serve, and after the wait that is told somebody can, as far as is known now.
    fn must_be_needed(&self, ask: Ask<'_>, none: &NoSlot) {
        let is_able = |slot: &Slot| {
            let is_fit = slot.healths(ask.model).all(|health| health.rest().is_none());
            is_fit && self.has_place(slot.in_flight) && self.may(slot, ask)
        };
        self.must(!self.pool.slots().any(is_able), "who could serve is not chosen");
        let Some(wait) = none.wait else { return };
        let was_probed = none.looks.iter().any(|look| matches!(look.verdict, Verdict::Probed(_)));
        self.must(wait <= Duration::from_secs(32 * u64::from(DAY)), "a wait without end");
        let span = SignedDuration::try_from(wait).expect("days");
        let later = Moment { wall: self.now.wall + span, instant: self.now.instant + wait };
        if let Err(none) = self.pool.clone().choose(ask, later) {
            // Behind a rest there may be a reading, or whoever was there before. Of somebody who
            // went on a hope nothing may be heard.
            let is_behind =
                |look: &Look| matches!(look.verdict, Verdict::Reserved { .. } | Verdict::Full);
            let is_behind = none.looks.iter().any(is_behind) || was_probed;
            self.must(is_behind, "the wait is over for nothing");
        }
    }

    fn leave(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let n = self.dice.below(u32::try_from(self.held.len()).expect("few"));
        let held = self.held.swap_remove(usize::try_from(n).expect("few"));
        self.outcome(&held);
        self.pool.leave(&held.id, held.number);
        if held.is_probe {
            self.probed.remove(&held.id);
        }
    }

    /// Something is heard of a request that goes on.
    fn hear(&mut self) {
        if !self.held.is_empty() {
            let held = self.dice.pick(&self.held);
            self.outcome(&held);
        }
    }

    fn outcome(&mut self, held: &Held) {
        match self.dice.below(10) {
            0..5 => {
                self.pool.answered(&held.id, held.model, held.sent);
                if let Some(session) = held.session {
                    self.pool.bind(session, &held.id, &[], self.now);
                    self.bound.insert(session, (held.id.clone(), self.now.instant));
                }
            }
            5..8 => {
                let fault = self.fault();
                if matches!(fault.why, Why::ModelLimit { .. }) {
                    self.see("narrowed");
                    self.narrowed.insert(held.id.clone());
                }
                self.pool.failed(&held.id, held.model, fault, (held.sent, self.now));
            }
            _ => return,
        }
        self.probed.remove(&held.id);
    }

    /// Of any kind, with evidence or without; some of the evidence is out of date.
    fn fault(&mut self) -> Fault {
        let why = self.dice.pick(&[
            Why::UsageLimit { span: None },
            Why::RateLimit,
            Why::Rejected,
            Why::NeedsLogin("it is gone".to_owned()),
            Why::ModelLimit { limit: "narrow".to_owned() },
        ]);
        let seconds = i64::from(self.dice.below(40 * DAY)) - i64::from(DAY);
        let until = self.one_in(2).then(|| self.now.wall + SignedDuration::from_secs(seconds));
        Fault { why, until }
    }

    fn read(&mut self) {
        let id = self.some();
        let mut windows = Vec::new();
        for minutes in [300, 10_080, 43_200] {
            if self.one_in(2) {
                windows.push(self.window(minutes));
            }
        }
        let families = vec![Family { id: MAIN.to_owned(), name: None, windows }];
        let reached = self.one_in(8).then(|| "rate_limit_reached".to_owned());
        let limits = Limits { families, reached, ..Limits::default() };
        let source = self.dice.pick(&[Source::Answer, Source::Refusal, Source::Route]);
        let ago = Duration::from_secs(self.dice.below(60).into());
        let asked = self.now.instant.checked_sub(ago).expect("there is something before it");
        self.pool.read(&id, &Reading::new(limits, source, asked, self.now), self.now);
        self.probed.remove(&id);
    }

    /// Half of them are far from used up; of the shorter ones some do not say when they reset.
    fn window(&mut self, minutes: u32) -> Window {
        let used = self.dice.below(131);
        let used_percent = self.dice.pick(&[40.0, f64::from(used)]);
        let seconds = 1 + self.dice.below((60 * minutes).min(14 * DAY));
        let is_silent = minutes < 20_000 && self.one_in(5);
        let resets_at = (!is_silent).then(|| after(self.now, seconds).wall);
        Window { used_percent, minutes: Some(minutes.into()), resets_at }
    }

    /// Slots come, go and come back; what the owner wants of them changes.
    fn reconcile(&mut self) {
        let mut order: Vec<_> = (1..=5).map(|n| (self.dice.below(1_000), n)).collect();
        order.sort_unstable();
        self.listed.clear();
        for (_, number) in order {
            if !self.one_in(4) {
                let wishes = self.wishes();
                self.listed.push((id(number), wishes));
            }
        }
        self.pool.reconcile(&self.listed);
        self.pool.set_policy(self.dice.pick(&Policy::ALL));
        let models = self.dice.pick(&["A", "a b", "b"]);
        let id = self.some();
        self.pool.set_models(&id, models.split(' ').map(str::to_owned).collect());
    }

    fn wishes(&mut self) -> Wishes {
        Wishes {
            label: None,
            is_enabled: !self.one_in(8),
            is_paused: self.one_in(8),
            weight: self.one_in(4).then_some(3),
            priority: self.dice.pick(&[0, 1]),
            reserve: self.one_in(4).then_some(20.0),
            models: if self.one_in(4) { vec!["a".to_owned()] } else { Vec::new() },
            is_last_resort: self.one_in(6),
        }
    }

    fn clear(&mut self) {
        let meant = self.one_in(2).then(|| self.some());
        self.pool.clear(meant.as_ref());
        self.probed.retain(|id, _| meant.as_ref().is_some_and(|meant| meant != id));
    }

    fn doubt(&mut self) {
        let meant = self.one_in(2).then(|| self.some());
        self.pool.doubt(meant.as_ref(), self.now);
    }

    fn pass(&mut self) {
        let most = self.dice.pick(&[10, 600, DAY / 4]);
        self.now = after(self.now, self.dice.below(most));
    }

    /// The wall clock goes on alone.
    fn sleep(&mut self) {
        self.now.wall = after(self.now, self.dice.below(DAY / 2)).wall;
    }

    /// The wall clock is set, to up to a day from where it would be.
    fn set_clock(&mut self) {
        let set_by = i64::from(self.dice.below(2 * DAY)) - i64::from(DAY);
        self.now.wall += SignedDuration::from_secs(set_by - self.set_by);
        self.set_by = set_by;
    }

    /// Everybody leaves, and a month later everything is as if nothing had been.
    fn end(&mut self) {
        for held in std::mem::take(&mut self.held) {
            self.pool.leave(&held.id, held.number);
        }
        self.must_agree();
        let there: Vec<_> = self.pool.slots.iter().map(|slot| &slot.id).collect();
        let listed: Vec<_> = self.listed.iter().map(|(id, _)| id).collect();
        self.must(there == listed, "who was to leave is there, or who was to stay is not");
        let later = after(self.now, 33 * DAY);
        let mut able = BTreeSet::new();
        let mut tried: Vec<SlotId> = Vec::new();
        while let Ok(choice) = self.pool.choose(Ask { tried: &tried, ..ask(later) }, later) {
            able.insert(choice.id.clone());
            tried.push(choice.id);
        }
        let is_open = |wishes: &Wishes| wishes.is_enabled && !wishes.is_paused;
        let open = self.listed.iter().filter(|(_, wishes)| is_open(wishes));
        let open: BTreeSet<_> = open.map(|(id, _)| id.clone()).collect();
        self.must(able == open, "a rest does not end");
    }
}

#[test]
fn no_history_breaks_a_promise() {
    let mut seen: BTreeMap<_, u32> = BTreeMap::new();
    for n in 1..=1_500_u64 {
        let mut history = History::new(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for _ in 0..200 {
            history.step();
        }
        history.end();
        for (what, count) in history.seen {
            *seen.entry(what).or_default() += count;
        }
    }
    // What never happens proves nothing.
    for what in ["affinity", "policy", "hope", "none", "probe", "narrowed"] {
        assert!(seen.get(what).is_some_and(|count| *count > 100), "{what}: {seen:?}");
    }
}
