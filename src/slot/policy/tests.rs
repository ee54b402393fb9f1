//! The orders of all policies, in a small notation.
//!
//! `1:50/90@3+2=5` is `slot-1` with 50 % of its five hours and 90 % of its week left, which was
//! last used third, has 2 requests under way and the weight 5. `?` stands for what is not known.
//! The week is the longest window, and the list is in the owner's order.

use super::*;
use crate::slot::week::Seeded;

/// The policies that codex-slot-relay has, too.
const FIRST_THREE: [Policy; 3] =
    [Policy::BestWeekThenFiveHours, Policy::BestFiveHoursThenWeek, Policy::LeastRecentlyUsed];

fn candidates(text: &str) -> Vec<Candidate> {
    text.split_whitespace().enumerate().map(|(n, text)| candidate(n, text)).collect()
}

fn candidate(position: usize, text: &str) -> Candidate {
    let (number, rest) = text.split_once(':').expect(text);
    let (left, marks) = rest.split_at(rest.find(['@', '+', '=']).unwrap_or(rest.len()));
    let (five_hours, week) = left.split_once('/').expect(text);
    let mark = |sign: char| -> Option<u32> {
        let (_, rest) = marks.split_once(sign)?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        Some(rest[..end].parse().expect(text))
    };
    Candidate {
        id: SlotId::numbered(number.parse().expect(text)),
        left: Left { five_hours: percent(five_hours), week: percent(week) },
        longest_left: percent(week),
        last_used: mark('@').map_or(0, u64::from),
        in_flight: mark('+').unwrap_or(0),
        weight: mark('='),
        position,
    }
}

fn percent(text: &str) -> Option<f64> {
    (text != "?").then(|| text.parse().expect(text))
}

/// The numbers of the slots in their order.
fn order(policy: Policy, candidates: &[Candidate], rotation: &Rotation) -> String {
    let order = rank(policy, candidates, Thresholds::default(), rotation);
    let number = |n: &usize| candidates[*n].id.as_str().trim_start_matches("slot-");
    order.iter().map(number).collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn check(policy: Policy, text: &str, expected: &str) {
    let found = order(policy, &candidates(text), &Rotation::default());
    assert_eq!(found, expected, "{policy}: {text}");
}

/// Who serves one turn after another: A is the first in the owner's order.
fn turns(policy: Policy, text: &str, n: u32) -> String {
    let mut candidates = candidates(text);
    let mut rotation = Rotation::default();
    let turn = |n| served(policy, &mut candidates, &mut rotation, n);
    (0..n).map(turn).collect()
}

/// The one who serves the turn `n` of those that can.
fn served(
    policy: Policy,
    candidates: &mut [Candidate],
    rotation: &mut Rotation,
    n: u32,
) -> &'static str {
    let first = rank(policy, candidates, Thresholds::default(), rotation)[0];
    let id = candidates[first].id.clone();
    rotation.advance(policy, candidates, &id);
    // Later than whatever the notation says.
    candidates[first].last_used = 1_000 + u64::from(n);
    ["A", "B", "C", "D"][candidates[first].position]
}

/// The examples of codex-slot-relay, in the three orders that both have. There, names are ordered
/// as text and `slot-10` comes before `slot-2`; here, they are ordered by their numbers.
#[test]
fn three_policies_sort_as_codex_slot_relay_does() {
    for (text, orders) in [
        ("1:50/90 2:90/50 3:50/90@5 10:90/50", ["1 3 2 10", "2 10 1 3", "1 2 10 3"]),
        ("10:70/70 2:70/70 9:70/70", ["2 9 10", "2 9 10", "2 9 10"]),
        // Equal numbers go round.
        ("1:80/80@3 2:80/80@1 3:80/80@2", ["2 3 1", "2 3 1", "2 3 1"]),
        // A part of a percent counts.
        ("1:50/50.4@1 2:50.1/50.6@2", ["2 1", "2 1", "1 2"]),
        // Who has the least that is asked for of both windows goes before all who have not.
        ("1:14/99 2:15/10@9", ["2 1", "2 1", "2 1"]),
        ("1:99/9 2:15/10@9", ["2 1", "2 1", "2 1"]),
        ("1:14.9/99 2:99/9.9 3:15/10@9", ["3 1 2", "3 2 1", "3 1 2"]),
        // Where nobody has it, the policy is as it would be otherwise.
        ("1:99/9@1 2:14/99@2", ["2 1", "1 2", "1 2"]),
    ] {
        for (policy, expected) in FIRST_THREE.into_iter().zip(orders) {
            check(policy, text, expected);
        }
    }
}

/// codex-slot-relay has at most one request under way at each.
#[test]
fn a_crowd_is_not_all_sent_to_the_one_that_is_best_now() {
    for (text, orders) in [
        ("1:50/90+3 2:50/88", ["2 1", "2 1", "1 2"]),
        ("1:50/90+1 2:50/88", ["1 2", "2 1", "1 2"]),
        // What is left of nothing is still known.
        ("1:1/1+50@1 2:?/?@2", ["1 2", "1 2", "1 2"]),
        ("1:20/20+50@2 2:20/20+60@1", ["2 1", "2 1", "2 1"]),
    ] {
        for (policy, expected) in FIRST_THREE.into_iter().zip(orders) {
            check(policy, text, expected);
        }
    }
}

/// codex-slot-relay never uses these.
#[test]
fn what_is_unknown_comes_after_what_is_little_and_is_there() {
    for (text, orders) in [
        ("1:?/?@1 2:0/0@2", ["2 1", "2 1", "1 2"]),
        ("1:?/? 2:0/0@2 3:20/20@9", ["3 2 1", "3 2 1", "3 1 2"]),
        ("1:50/?@1 2:?/50@2 3:5/5@3", ["2 3 1", "1 3 2", "1 2 3"]),
        ("2:?/? 1:?/?", ["1 2", "1 2", "1 2"]),
    ] {
        for (policy, expected) in FIRST_THREE.into_iter().zip(orders) {
            check(policy, text, expected);
        }
    }
}

#[test]
fn balanced_takes_who_has_used_least_of_the_longest_window() {
    for (text, expected) in [
        ("1:100/50 2:100/100", "2 1"),
        ("1:1/95 2:99/94", "1 2"),
        // Whole percents of what is used, then who was chosen longer ago.
        ("1:9/49.5@2 2:9/49.9@1", "2 1"),
        ("1:9/49.5@1 2:9/49.9@2", "1 2"),
        ("1:9/48.9 2:9/50@9", "2 1"),
        // What was not read lately comes after whatever was, least recently chosen first.
        ("1:9/? 2:9/1@9", "2 1"),
        ("1:9/?@2 2:9/?@1", "2 1"),
        // What is under way counts as one percent each.
        ("1:9/90+1 2:9/88", "1 2"),
        ("1:9/90@1+2 2:9/88@2", "1 2"),
        ("1:9/90@2+2 2:9/88@1", "2 1"),
        ("1:9/90+3 2:9/88", "2 1"),
        ("2:9/9 1:9/9", "1 2"),
    ] {
        check(Policy::Balanced, text, expected);
    }
    assert_eq!(turns(Policy::Balanced, "1:9/50 2:9/100", 12), "BBBBBBBBBBBB");
}

#[test]
fn the_other_policies_do_not_look_at_what_is_left() {
    for (policy, text, expected) in [
        (Policy::RoundRobin, "1:99/99@5 2:0/0@3 3:?/?@9", "2 1 3"),
        (Policy::RoundRobin, "3:9/9 2:9/9", "2 3"),
        (Policy::Ordered, "10:1/1@9 2:99/99 1:?/?", "10 2 1"),
        (Policy::PingPong, "10:1/1@9 2:99/99 1:?/?", "10 2 1"),
    ] {
        check(policy, text, expected);
    }
}

#[test]
fn each_policy_goes_round_in_its_own_way() {
    for (policy, text, expected) in [
        // With the same numbers AIRelays gives the same letters.
        (Policy::Weighted, "1:9/50 2:9/100", "BABBABBABBAB"),
        (Policy::Weighted, "1:9/50.9 2:9/?", "BABBABBABBAB"),
        (Policy::Weighted, "1:9/80 2:9/80 3:9/80", "ABCABCABCABC"),
        // Nobody is worth nothing.
        (Policy::Weighted, "1:9/0 2:9/0", "ABABABABABAB"),
        (Policy::Weighted, "1:9/0 2:9/3", "BABBBABBBABB"),
        // The owner's weights come before what is left.
        (Policy::Weighted, "1:9/1=3 2:9/99=1", "ABAAABAAABAA"),
        (Policy::Weighted, "1:9/9=5 2:9/9=1 3:9/9=1", "AABACAAAABAC"),
        (Policy::Weighted, "1:9/99=0 2:9/1=2", "BABBABBABBAB"),
        (Policy::PingPong, "1:9/9 2:99/99", "ABABABABABAB"),
        (Policy::PingPong, "3:9/9 2:99/99 1:?/?", "ABCABCABCABC"),
        (Policy::RoundRobin, "1:9/9 2:99/99 3:1/1", "ABCABCABCABC"),
        (Policy::LeastRecentlyUsed, "1:50/50 2:99/99 3:99/99", "BCABCABCABCA"),
        (Policy::LeastRecentlyUsed, "1:50/5 2:99/99 3:99/99", "BCBCBCBCBCBC"),
        (Policy::BestWeekThenFiveHours, "1:9/99 2:99/99 3:99/99", "BCBCBCBCBCBC"),
        (Policy::BestWeekThenFiveHours, "1:99/98 2:20/99", "BBBBBBBBBBBB"),
        (Policy::BestFiveHoursThenWeek, "1:99/20 2:98/99", "AAAAAAAAAAAA"),
        (Policy::Ordered, "2:1/1 1:99/99", "AAAAAAAAAAAA"),
    ] {
        assert_eq!(turns(policy, text, 12), expected, "{policy}: {text}");
    }
}

#[test]
fn who_cannot_serve_for_a_while_comes_back_with_the_credit_it_had() {
    let all = candidates("1:9/50 2:9/100");
    let mut rotation = Rotation::default();
    let letters: Vec<_> = [&all[..], &all[1..], &all[1..], &all[1..], &all[..], &all[..]]
        .into_iter()
        .map(|able| served(Policy::Weighted, &mut able.to_vec(), &mut rotation, 0))
        .collect();
    assert_eq!(letters.concat(), "BBBBAB");
}

#[test]
fn who_is_gone_is_forgotten() {
    let mut all = candidates("1:9/50 2:9/100");
    let mut rotation = Rotation::default();
    assert_eq!(served(Policy::Weighted, &mut all, &mut rotation, 0), "B");
    let next = order(Policy::Weighted, &all, &rotation);
    rotation.keep(|_| true);
    assert_eq!(order(Policy::Weighted, &all, &rotation), next);
    rotation.keep(|_| false);
    assert_eq!((&*next, &*order(Policy::Weighted, &all, &rotation)), ("1 2", "2 1"));
}

const LEFT: [Option<f64>; 8] =
    [None, Some(0.0), Some(9.5), Some(10.0), Some(15.0), Some(50.0), Some(50.4), Some(100.0)];

/// A few slots with numbers among which there are many equals.
fn generated(dice: &mut Seeded) -> Vec<Candidate> {
    let n = 1 + dice.below(8);
    (0_usize..)
        .zip(1..=n)
        .map(|(position, number)| Candidate {
            id: SlotId::numbered(number),
            left: Left { five_hours: dice.pick(&LEFT), week: dice.pick(&LEFT) },
            longest_left: dice.pick(&LEFT),
            last_used: dice.below(4).into(),
            in_flight: dice.below(3),
            weight: dice.pick(&[None, None, Some(1), Some(3)]),
            position,
        })
        .collect()
}

/// `candidates` in another order.
fn mixed(candidates: &[Candidate], dice: &mut Seeded) -> Vec<Candidate> {
    let mut mixed: Vec<_> =
        candidates.iter().map(|candidate| (dice.below(1_000), candidate.clone())).collect();
    mixed.sort_by_key(|(place, _)| *place);
    mixed.into_iter().map(|(_, candidate)| candidate).collect()
}

#[test]
fn a_ranking_holds_everybody_once_and_the_order_of_the_list_makes_no_difference() {
    const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut dice = Seeded(SEED);
    for round in 0..1_000 {
        let one = generated(&mut dice);
        let other = mixed(&one, &mut dice);
        for policy in Policy::ALL {
            let mut rotation = Rotation::default();
            for _ in 0..dice.below(4) {
                let chosen = dice.pick(&one).id;
                rotation.advance(policy, &one, &chosen);
            }
            let found = order(policy, &one, &rotation);
            let said = format!("seed {SEED:#x}, round {round}, {policy}: {one:?}");
            assert_eq!(order(policy, &other, &rotation), found, "{said}");
            let mut places = rank(policy, &other, Thresholds::default(), &rotation);
            places.sort_unstable();
            assert!(places.into_iter().eq(0..other.len()), "{said}");
        }
    }
}

#[test]
fn numbers_are_ordered_by_what_stands_for_them() {
    let numbers = [-200.0, -100.5, -1.0, -0.0, 0.5, 1.0, 99.5, 100.0, 1e9];
    assert!(numbers.windows(2).all(|pair| at(pair[0]) < at(pair[1])), "{numbers:?}");
    assert_eq!(at(-0.0), at(0.0));
}

#[test]
fn a_policy_is_read_however_its_name_is_written() {
    for policy in Policy::ALL {
        let name = policy.to_string();
        let loud = format!(" {} ", name.to_uppercase().replace('-', "_"));
        for text in [name, loud] {
            assert_eq!(text.parse::<Policy>(), Ok(policy), "{text}");
        }
    }
    assert_eq!(Policy::default().as_str(), "best-week-then-5h");
    for text in ["", "best", "round robin", "balanced,"] {
        let told = text.parse::<Policy>().expect_err(text).to_string();
        let expected = format!(
            "`{text}` is no policy; there are: best-week-then-5h, best-5h-then-week, \
             least-recently-used, balanced, weighted, round-robin, ping-pong, ordered"
        );
        assert_eq!(told, expected);
    }
}
