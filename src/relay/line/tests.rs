//! Random crowds before a few slots, with time that passes at will: everybody is answered in time and
//! in his turn, and nobody waits who could be served.

use std::{collections::BTreeMap, pin::pin, rc::Rc, sync::Arc, task::Poll};

use axum::Router;
use futures_util::{
    future::{join, join_all},
    poll,
};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio_util::task::TaskTracker;

use super::*;
use crate::{
    auth::{
        file::Store,
        refresh::{self, Login},
        vault::Vault,
    },
    clock::Clock,
    private_file,
    redact::Redactor,
    relay::slots::{Account, Settings},
    roster::{Member, Roster},
    slot::{
        affinity,
        health::{Fault, Why},
        policy::{Policy, Thresholds},
        pool,
        week::Seeded,
    },
    transport,
    upstream::{
        self, Upstream,
        catalogue::{self, Catalogue},
    },
};

const PATIENCE: Duration = Duration::from_secs(30);

/// Slots whose logins nobody asks for anything.
struct Place {
    slots: Slots,
    clock: Clock,
    _home: TempDir,
}

impl Place {
    fn new(n_slots: u32, concurrent: u32, waiting: usize) -> Self {
        let home = tempfile::tempdir().expect("a folder");
        for number in 1..=n_slots {
            let file = match number {
                1 => home.path().join("auth.json"),
                number => home.path().join(format!("accounts/slot-{number}/auth.json")),
            };
            private_file::create_dir(file.parent().expect("a folder")).expect("made");
            private_file::replace(&file, b"{}").expect("written");
        }
        let clock = Clock::system();
        let first = Self::account(&home, &clock);
        let connect = move |member: &Member| Account {
            login: first.login.beside(Store::new(&member.auth_file, Vault::none())),
            catalogue: first.catalogue.beside(),
        };
        let affinity = affinity::Settings { most: 8, keep: Duration::from_mins(1) };
        let pool = pool::Settings {
            policy: Policy::RoundRobin,
            thresholds: Thresholds::default(),
            reserve: 0.0,
            concurrent,
            affinity,
        };
        let settings = Settings { pool, waiting, patience: PATIENCE };
        let roster = Roster::new(home.path());
        let slots = Slots::new(roster, Arc::new(connect), clock.clone(), settings);
        Self { slots: slots.expect("slots"), clock, _home: home }
    }

    fn account(home: &TempDir, clock: &Clock) -> Account {
        let tasks = TaskTracker::new();
        let transport = || transport::local(Router::new());
        let settings = refresh::Settings {
            store: Store::new(&home.path().join("auth.json"), Vault::none()),
            issuer: "https://issuer.example/".to_owned(),
            client_id: "app".to_owned(),
            timeout: PATIENCE,
            lock_wait: PATIENCE,
            apart: None,
        };
        let login =
            Login::new(settings, transport(), clock.clone(), tasks.clone(), Redactor::new());
        let settings = upstream::Settings {
            base_url: "https://upstream.example/backend-api/codex".to_owned(),
            client_version: "1.0.0".to_owned(),
            user_agent: "test".into(),
            headers_timeout: PATIENCE,
        };
        let upstream = Upstream::new(&settings, transport(), clock.clone()).expect("an address");
        let settings = catalogue::Settings { fresh_for: PATIENCE, patience: PATIENCE };
        let catalogue = Catalogue::new(upstream, settings, tasks);
        Account { login: login.expect("an address"), catalogue }
    }

    fn hold(&self, id: &SlotId, fault: Fault, sent: Instant) {
        self.slots.change(|pool, now| pool.failed(id, None, fault, (sent, now)));
    }

    async fn take(&self) -> Taken {
        let now = self.clock.instant();
        self.slots.take(Wanted::default(), (now, now + PATIENCE)).await
    }

    /// Nobody waits who could be served, unless it is about to be looked after him.
    fn must_be_served(&self, seed: u64) {
        let now = self.slots.now();
        let state = self.slots.0.state.lock();
        let line = &state.line;
        assert!(line.waiters.len() <= self.slots.settings().waiting, "seed {seed}");
        if line.next_look.is_some_and(|next| next <= now.instant) {
            return;
        }
        for waiter in &line.waiters {
            let chosen = state.pool.clone().choose(waiter.wanted.ask(waiter.since), now);
            assert!(chosen.is_err(), "seed {seed}: {:?} waits for nothing", waiter.wanted);
        }
        assert!(line.waiters.is_empty() || line.next_look.is_some(), "seed {seed}");
    }
}

/// In steps, so that things happen at the same moment.
fn millis(dice: &mut Seeded, most: u32) -> Duration {
    const STEP: u32 = 250;
    Duration::from_millis((dice.below(most) / STEP * STEP).into())
}

/// Of whom is known what he wanted, and how he fared.
struct Crowd {
    place: Place,
    seed: u64,
    /// Those who came, by what they wanted, in their order, until they are served.
    order: Mutex<BTreeMap<String, VecDeque<u32>>>,
    seen: Mutex<BTreeMap<&'static str, u32>>,
}

impl Crowd {
    fn see(&self, what: &'static str) {
        *self.seen.lock().entry(what).or_default() += 1;
    }

    /// Comes, waits, serves for a while and goes; or loses patience before.
    async fn client(&self, number: u32, mut dice: Seeded) {
        tokio::time::sleep(millis(&mut dice, 60_000)).await;
        let wanted = Wanted {
            session: None,
            model: dice.pick(&[None, None, Some("a".to_owned())]),
            tried: Vec::new(),
            only: dice.pick(&[None, None, Some(SlotId::numbered(2))]),
        };
        let class = format!("{wanted:?}");
        self.order.lock().entry(class.clone()).or_default().push_back(number);
        let since = self.place.clock.instant();
        let own_patience = match dice.below(4) {
            0 => millis(&mut dice, 20_000),
            _ => Duration::from_mins(10),
        };
        let taken = tokio::time::timeout(
            own_patience,
            self.place.slots.take(wanted, (since, since + PATIENCE)),
        )
        .await;
        let time = self.place.clock.instant().saturating_duration_since(since);
        assert!(time <= PATIENCE + LEAST, "seed {}: {time:?}", self.seed);
        {
            let mut order = self.order.lock();
            let before = order.get_mut(&class).expect("he came");
            let place = before.iter().position(|known| *known == number).expect("he came");
            // Who is served is the first of those who want the same and still wait.
            if matches!(taken, Ok(Ok(_))) && !time.is_zero() {
                assert_eq!(place, 0, "seed {}: out of turn", self.seed);
                self.see("waited");
            }
            before.remove(place);
        }
        let lease = match taken {
            Ok(Ok(lease)) => lease,
            Ok(Err(none)) if none.is_full => return self.see("full"),
            Ok(Err(_)) => return self.see("none"),
            Err(_) => return self.see("left"),
        };
        let sent = self.place.clock.instant();
        tokio::time::sleep(millis(&mut dice, 8_000)).await;
        match dice.below(8) {
            0 => {
                let until = self.place.clock.now().checked_add(millis(&mut dice, 40_000)).ok();
                let fault = Fault { why: Why::RateLimit, until };
                self.place.hold(lease.id(), fault, sent);
                self.see("rest");
            }
            1 => {
                let until = self.place.clock.now().checked_add(millis(&mut dice, 40_000)).ok();
                let fault = Fault { why: Why::ModelLimit { limit: "narrow".to_owned() }, until };
                let id = lease.id();
                self.place.slots.change(|pool, now| pool.failed(id, Some("a"), fault, (sent, now)));
            }
            2 => {}
            _ => lease.answered(sent),
        }
        tokio::time::sleep(millis(&mut dice, 4_000)).await;
        self.see("served");
    }

    /// Sees to it that what is promised holds, while the owner changes his mind now and then.
    async fn watch(&self, mut dice: Seeded) {
        for _ in 0..400 {
            tokio::time::sleep(millis(&mut dice, 600)).await;
            let slots = &self.place.slots;
            match dice.below(40) {
                0 => slots.change(|pool, now| pool.doubt(None, now)),
                1 => drop(slots.change(|pool, _| pool.clear(None))),
                _ => {}
            }
            // Whoever was told at this very moment has to get his turn first.
            tokio::task::yield_now().await;
            self.place.must_be_served(self.seed);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_crowd_breaks_a_promise() {
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    for seed in 1..=60_u64 {
        let mut dice = Seeded(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let waiting = dice.pick(&[3_usize, 200]);
        let place = Place::new(1 + dice.below(3), 1 + dice.below(3), waiting);
        let order = Mutex::default();
        let crowd = Rc::new(Crowd { place, seed, order, seen: Mutex::default() });
        let clients = (0..120).map(|n| crowd.client(n, Seeded(seed << 20 | u64::from(n) << 1 | 1)));
        join(join_all(clients), crowd.watch(Seeded(!seed))).await;
        crowd.place.slots.view(|pool, _| {
            assert!(pool.slots().all(|slot| slot.in_flight == 0), "seed {seed}: a place is lost");
        });
        assert_eq!(crowd.place.slots.n_waiting(), 0, "seed {seed}");
        for (what, count) in &*crowd.seen.lock() {
            *seen.entry(what).or_default() += count;
        }
    }
    // What never happens proves nothing.
    for what in ["waited", "full", "none", "left", "rest", "served"] {
        assert!(seen.get(what).is_some_and(|count| *count > 50), "{what}: {seen:?}");
    }
}

/// Time alone once woke nobody when a reserve ended, and woke everybody all the time for a rest of a
/// slot that was paused.
#[tokio::test(start_paused = true)]
async fn whoever_waits_is_looked_after_when_it_is_time_and_not_before() {
    let place = Place::new(2, 1, 9);
    let held = place.take().await.expect("the first");
    let second = place.take().await.expect("the second");
    let until = |seconds: i64| Some(place.clock.now() + jiff::SignedDuration::from_secs(seconds));
    let limited = |seconds| Fault { why: Why::RateLimit, until: until(seconds) };
    place.hold(held.id(), limited(20), place.clock.instant());
    place.hold(second.id(), limited(5), place.clock.instant());
    let paused = second.id().clone();
    drop((held, second));
    place.slots.change(|pool, _| {
        let listed: Vec<_> = pool
            .slots()
            .map(|slot| {
                let mut wishes = slot.wishes.clone();
                wishes.is_paused = slot.id == paused;
                (slot.id.clone(), wishes)
            })
            .collect();
        pool.reconcile(&listed);
    });
    let next = || place.slots.0.state.lock().line.next_look;
    let began = place.clock.instant();
    let waits = async {
        place.take().await.expect("in time");
        place.clock.instant().saturating_duration_since(began)
    };
    let looks = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let next = next().expect("somebody waits");
        next.saturating_duration_since(began)
    };
    let (waited, look) = join(waits, looks).await;
    for time in [waited, look] {
        let off = time.abs_diff(Duration::from_secs(20));
        assert!(off < Duration::from_secs(1), "{time:?}");
    }
}

/// Whoever came at the very moment was served before those who had waited for it.
#[tokio::test(start_paused = true)]
async fn whoever_comes_when_a_rest_ends_comes_too_late() {
    let place = Place::new(1, 1, 9);
    let held = place.take().await.expect("the first");
    let until = place.clock.now().checked_add(jiff::SignedDuration::from_secs(5)).ok();
    let fault = Fault { why: Why::RateLimit, until };
    place.hold(held.id(), fault, place.clock.instant());
    drop(held);
    let mut waits = pin!(place.take());
    assert!(poll!(&mut waits).is_pending());
    tokio::time::advance(Duration::from_secs(6)).await;
    let mut late = pin!(place.take());
    assert!(poll!(&mut late).is_pending());
    let Poll::Ready(Ok(lease)) = poll!(&mut waits) else { panic!("it is his turn") };
    lease.answered(place.clock.instant());
    drop(lease);
    assert!(matches!(poll!(&mut late), Poll::Ready(Ok(_))));
}
