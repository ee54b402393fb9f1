//! All limits together, as `api` meets them.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use super::{Client, Counts, Failed, Limits, Permit, Refused, Settings, Who};

/// Any instant will do: only the differences count.
#[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
pub fn start() -> Instant {
    Instant::now()
}

fn client(address: &str) -> Client {
    address.parse::<IpAddr>().expect("address").into()
}

/// The `n`th of many IPv4 clients.
fn nth(n: u32) -> Client {
    IpAddr::from(Ipv4Addr::from_bits(n)).into()
}

fn idle(counts: Counts) -> bool {
    counts.active == 0
}

#[test]
fn one_host_is_one_client() {
    for (a, b, same) in [
        ("127.0.0.1", "127.0.0.1", true),
        ("127.0.0.1", "127.0.0.2", false),
        ("127.0.0.1", "::ffff:127.0.0.1", true),
        ("127.0.0.1", "::1", false),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", false),
        ("::1", "::2", true),
    ] {
        assert_eq!(client(a) == client(b), same, "{a} and {b}");
    }
}

#[test]
fn no_sender_of_version_6_has_the_number_of_a_version_4_address() {
    let v4: Client = IpAddr::from(Ipv4Addr::BROADCAST).into();
    let multicast = Ipv6Addr::from([0xff; 16]);
    assert_eq!(v4, IpAddr::from(multicast).into());
    assert!(multicast.is_multicast());
}

#[test]
fn places_are_given_back_when_the_permit_goes() {
    let limits = Limits::new(Settings { concurrent: 2, ..Settings::default() });
    let (me, now) = (client("::1"), start());
    let one = limits.admit(me, Who::Owner, now).expect("first");
    let two = limits.admit(me, Who::Owner, now).expect("second");
    let full = Refused::TooMany { retry_after: Duration::from_secs(1) };
    for _ in 0..100 {
        assert_eq!(limits.admit(me, Who::Owner, now).expect_err("full"), full);
    }
    let view = limits.snapshot(me, now);
    assert_eq!((view.active_requests, view.allowance_remaining.round()), (2, 38.0));
    drop(one);
    let three = limits.admit(me, Who::Owner, now).expect("room again");
    assert!(limits.admit(me, Who::Owner, now).is_err());
    drop((two, three));
    assert!(idle(limits.counts(now)));
}

#[test]
fn a_refusal_spends_nothing() {
    let settings = Settings { per_minute: 60, burst: 2, concurrent: 1, ..Settings::default() };
    let limits = Limits::new(settings);
    let (me, now) = (client("10.0.0.1"), start());
    let running = limits.admit(me, Who::Anonymous, now).expect("first");
    // Refused for want of a place, so the rate still has one to give.
    assert!(matches!(limits.admit(me, Who::Anonymous, now), Err(Refused::TooMany { .. })));
    drop(running);
    drop(limits.admit(me, Who::Anonymous, now).expect("second"));
    let early = Refused::TooFast { retry_after: Duration::from_secs(1) };
    // Refused for coming too fast, so no place is taken and the wait does not grow.
    for _ in 0..100 {
        assert_eq!(limits.admit(me, Who::Anonymous, now).expect_err("too fast"), early);
    }
    assert!(idle(limits.counts(now)));
    let later = now + Duration::from_secs(1);
    drop(limits.admit(me, Who::Anonymous, later).expect("as promised"));
}

#[test]
fn the_eighth_bad_token_sets_the_block() {
    let limits = Limits::new(Settings::default());
    let (me, now) = (client("10.0.0.1"), start());
    for nth in 1..=7 {
        assert_eq!(limits.failed(me, now), Failed { blocked_for: None }, "failure {nth}");
        assert_eq!(limits.blocked(me, now), None);
    }
    let block = Some(Duration::from_mins(15));
    assert_eq!(limits.failed(me, now), Failed { blocked_for: block });
    assert_eq!(limits.blocked(me, now), block);
    assert_eq!(limits.blocked(client("10.0.0.2"), now), None);
    let view = limits.snapshot(me, now);
    assert_eq!((view.failed_auth_attempts, view.blocked_for), (8, block));
    assert_eq!(limits.counts(now), Counts { tracked: 1, blocked: 1, active: 0 });
    let end = now + Duration::from_mins(15);
    assert_eq!(limits.blocked(me, end), None);
    assert_eq!(limits.counts(end).blocked, 0);
}

#[test]
fn the_owner_is_never_locked_out_or_starved_by_others() {
    let limits = Limits::new(Settings::default());
    let (me, now) = (client("127.0.0.1"), start());
    let mut held = Vec::new();
    for _ in 0..1_000 {
        limits.failed(me, now);
        held.extend(limits.admit(me, Who::Anonymous, now));
    }
    for n in 0..200_000 {
        limits.failed(nth(n), now);
    }
    assert!(limits.blocked(me, now).is_some());
    assert!(limits.admit(me, Who::Anonymous, now).is_err());
    let owner: Vec<_> = (0..8).map(|_| limits.admit(me, Who::Owner, now)).collect();
    assert!(owner.iter().all(Result::is_ok));
    assert_eq!(limits.snapshot(me, now).active_requests, 16);
    assert_eq!(format!("{:.2}", limits.snapshot(me, now).allowance_remaining), "32.00");
}

#[test]
fn a_million_addresses_take_a_bounded_table_and_leave_the_blocked_blocked() {
    let limits = Limits::new(Settings::default());
    let now = start();
    let (blocked, busy) = (client("192.0.2.1"), client("192.0.2.2"));
    for _ in 0..8 {
        limits.failed(blocked, now);
    }
    let running = limits.admit(busy, Who::Anonymous, now).expect("admitted");
    for n in 0..1_000_000 {
        let at = now + Duration::from_micros(u64::from(n));
        assert!(limits.admit(nth(n), Who::Anonymous, at).is_ok(), "newcomer {n}");
    }
    let end = now + Duration::from_secs(1);
    assert_eq!(limits.counts(end), Counts { tracked: 65_536, blocked: 1, active: 1 });
    assert_eq!(limits.blocked(blocked, end), Some(Duration::from_secs(899)));
    assert_eq!(limits.snapshot(busy, end).active_requests, 1);
    drop(running);
    assert!(idle(limits.counts(end)));
}

#[test]
fn the_longest_silent_goes_first_and_the_blank_before_it() {
    let limits = Limits::with_capacity(Settings::default(), 3);
    let now = start();
    let at = |ms| now + Duration::from_millis(ms);
    for (n, ms) in [(1, 1_200), (2, 1_100), (3, 1_300)] {
        drop(limits.admit(nth(n), Who::Anonymous, at(ms)));
    }
    let known = |n| limits.snapshot(nth(n), at(1_300)).allowance_remaining < 40.0;
    drop(limits.admit(nth(4), Who::Anonymous, at(1_300)));
    assert_eq!([1, 2, 3, 4].map(known), [true, false, true, true]);
    // Half a second pays for one request: 1 has its whole burst again, whoever came first.
    drop(limits.admit(nth(3), Who::Anonymous, at(1_300)));
    drop(limits.admit(nth(5), Who::Anonymous, at(1_700)));
    assert_eq!([1, 3, 4, 5].map(known), [false, true, true, true]);

    let limits = Limits::with_capacity(Settings::default(), 2);
    limits.failed(nth(1), at(0));
    drop(limits.admit(nth(2), Who::Anonymous, at(100)));
    drop(limits.admit(nth(3), Who::Anonymous, at(9_000)));
    assert_eq!(limits.snapshot(nth(1), at(9_000)).failed_auth_attempts, 1);
}

#[test]
fn when_all_are_busy_newcomers_share_what_one_client_has() {
    let settings = Settings { concurrent: 2, burst: 3, failed_max: 2, ..Settings::default() };
    let limits = Limits::with_capacity(settings, 4);
    let now = start();
    let admit = |n| limits.admit(nth(n), Who::Anonymous, now);
    let busy: Vec<Permit> = (0..4).map(|n| admit(n).expect("room")).collect();
    let shared = [admit(10).expect("first newcomer"), admit(11).expect("second newcomer")];
    assert!(matches!(admit(12), Err(Refused::TooMany { .. })));
    drop(shared);
    drop(admit(13).expect("the third of the burst"));
    assert!(matches!(admit(14), Err(Refused::TooFast { .. })));
    limits.failed(nth(15), now);
    assert!(limits.failed(nth(16), now).blocked_for.is_some());
    assert!(limits.blocked(nth(17), now).is_some());
    assert!(limits.blocked(nth(1), now).is_none());
    assert_eq!(limits.counts(now), Counts { tracked: 4, blocked: 1, active: 4 });
    drop(busy);
    drop(admit(18).expect("a place of its own"));
    assert!(idle(limits.counts(now)));
}

/// A small generator, so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// One thread's share: random clients admitted, failed and let go, in random order.
fn play(limits: &Limits, seed: u64, now: Instant) -> usize {
    let mut dice = Dice(seed);
    let mut held = Vec::new();
    let mut admitted = 0;
    for step in 0..4_000 {
        let at = now + Duration::from_millis(step);
        let who = if dice.roll(2) == 0 { Who::Owner } else { Who::Anonymous };
        let client = nth(u32::try_from(dice.roll(40)).expect("small"));
        match dice.roll(4) {
            0 | 1 => match limits.admit(client, who, at) {
                Ok(permit) => {
                    admitted += 1;
                    held.push(permit);
                }
                Err(Refused::TooMany { .. } | Refused::TooFast { .. }) => {}
            },
            2 if !held.is_empty() => {
                let index = dice.roll(u64::try_from(held.len()).expect("small"));
                drop(held.swap_remove(usize::try_from(index).expect("small")));
            }
            _ => {
                limits.failed(client, at);
            }
        }
    }
    admitted
}

#[test]
fn counts_return_to_nothing_after_many_threads() {
    for seed in [1_u64, 0x5eed, 0xdead_beef] {
        // Fewer places than clients, so that eviction and sharing take part.
        let limits = Limits::with_capacity(Settings::default(), 16);
        let (now, gate) = (start(), Barrier::new(8));
        let admitted: usize = thread::scope(|scope| {
            let play = |n| {
                let (limits, gate) = (limits.clone(), &gate);
                scope.spawn(move || {
                    gate.wait();
                    play(&limits, seed + n, now)
                })
            };
            let threads: Vec<_> = (1..=8_u64).map(play).collect();
            threads.into_iter().map(|thread| thread.join().expect("played")).sum()
        });
        let counts = limits.counts(now);
        assert!(admitted > 1_000, "seed {seed}: only {admitted} were admitted");
        assert!(idle(counts) && counts.tracked <= 32, "seed {seed}: {counts:?}");
    }
}

#[test]
fn a_permit_may_travel_with_a_body() {
    fn travels<T: Send + Sync + 'static>() {}
    travels::<Permit>();
    travels::<Limits>();
}
