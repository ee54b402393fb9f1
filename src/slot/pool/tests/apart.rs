//! Limits that do not concern the whole account: those of single models, and that of pictures.

use super::*;

fn images(used_percent: f64, resets_at: Moment, asked: Moment) -> Reading {
    let window = Window { used_percent, minutes: Some(1_440), resets_at: Some(resets_at.wall) };
    let id = "imagegen_premium".to_owned();
    let family = Family { id, name: None, windows: vec![window] };
    let limits = Limits { families: vec![family], ..Limits::default() };
    Reading::new(limits, Source::Answer, asked.instant, asked)
}

#[test]
fn pictures_are_counted_apart() {
    let t0 = start();
    let mut pool = plain(2);
    let picture = |now: Moment| Ask { model: Some(IMAGES), ..ask(now) };
    // A window of text that is used up stops no picture.
    let spent = fault(Why::UsageLimit { span: None }, Some(after(t0, 9000)));
    pool.failed(&id(1), None, spent, (t0.instant, t0));
    assert_eq!(glance(&mut pool, ask(t0), t0), "slot-2 by ordered");
    assert_eq!(glance(&mut pool, picture(t0), t0), "slot-1 by ordered");
    // And a picture that was made says nothing of it.
    pool.answered(&id(1), Some(IMAGES), after(t0, 1).instant);
    assert_eq!(glance(&mut pool, ask(t0), after(t0, 2)), "slot-2 by ordered");
    // The other way round.
    let now = after(t0, 3);
    let refused = fault(Why::UsageLimit { span: None }, Some(after(t0, 900)));
    pool.failed(&id(2), Some(IMAGES), refused, (now.instant, now));
    pool.read_images(&id(1), &images(100.0, after(t0, DAY), now), now);
    assert_eq!(glance(&mut pool, ask(now), now), "slot-2 by ordered");
    let none = pool.choose(picture(t0), now).expect_err("both");
    assert_eq!(keys(&none.looks), "slot-1 cooling, slot-2 cooling");
    assert_eq!(none.wait, Some(Duration::from_secs(897)));
    let why = |look: &Look| look.verdict.sentence();
    assert_eq!(why(&none.looks[0]), "its limit `imagegen_premium` for this model is reached");
    // An older answer knows nothing of it, a newer one that there is room.
    pool.read_images(&id(1), &images(5.0, after(t0, DAY), t0), now);
    assert!(pool.choose(picture(t0), now).is_err());
    let later = after(t0, 10);
    pool.read_images(&id(1), &images(5.0, after(t0, DAY), later), later);
    assert_eq!(glance(&mut pool, picture(later), later), "slot-1 by ordered");
    // What is wrong with the login is wrong for both.
    pool.failed(&id(1), Some(IMAGES), fault(Why::Rejected, None), (later.instant, later));
    assert!(pool.choose(picture(later), later).is_err());
    pool.answered(&id(1), Some(IMAGES), after(t0, 11).instant);
    assert_eq!(glance(&mut pool, picture(later), after(t0, 12)), "slot-1 by ordered");
    let is_spent = pool.slot(&id(1)).and_then(|slot| slot.health.rest().map(|it| it.why.key()));
    assert_eq!(is_spent, Some("usage_limit"));
    // Whoever owns the slot next begins with nothing.
    pool.owned_by(&id(1), 1);
    pool.owned_by(&id(1), 2);
    assert!(pool.slot(&id(1)).is_some_and(|slot| slot.images().is_none()));
}

/// The window slides, so it may have room before it resets.
#[test]
fn the_last_slot_is_asked_for_a_picture_now_and_then() {
    let t0 = start();
    let mut pool = plain(1);
    let picture = |now: Moment| Ask { model: Some(IMAGES), ..ask(now) };
    pool.read_images(&id(1), &images(100.0, after(t0, DAY), t0), t0);
    let soon = after(t0, 59);
    assert!(pool.choose(picture(soon), soon).is_err());
    let later = after(t0, 61);
    assert_eq!(choose(&mut pool, picture(later), later), "slot-1 by last-hope");
    assert!(pool.choose(picture(later), later).is_err(), "one goes first");
    assert_eq!(glance(&mut pool, ask(later), later), "slot-1 by ordered", "text is not held up");
}

/// One model's own limit once stopped the whole account.
#[test]
fn a_limit_of_one_model_stops_that_model_alone() {
    let t0 = start();
    let mut pool = plain(2);
    let spark = |now: Moment| Ask { model: Some("spark"), ..ask(now) };
    let limit = || Why::ModelLimit { limit: "codex_bengalfox".to_owned() };
    let until = Some(after(t0, 900));
    pool.failed(&id(1), Some("Spark"), fault(limit(), until), (t0.instant, t0));
    assert_eq!(glance(&mut pool, spark(t0), t0), "slot-2 by ordered");
    assert_eq!(glance(&mut pool, Ask { model: Some("m"), ..ask(t0) }, t0), "slot-1 by ordered");
    assert_eq!(glance(&mut pool, ask(t0), t0), "slot-1 by ordered");
    let none = pool.choose(Ask { tried: &[id(2)], ..spark(t0) }, t0).expect_err("both");
    assert_eq!(keys(&none.looks), "slot-1 cooling, slot-2 tried");
    assert_eq!(none.wait, Some(Duration::from_mins(15)));
    // What another model is answered says nothing about it; what it is answered does.
    pool.answered(&id(1), Some("m"), after(t0, 1).instant);
    assert_eq!(glance(&mut pool, spark(t0), after(t0, 2)), "slot-2 by ordered");
    let now = after(t0, 900);
    let probe = pool.choose(spark(now), now).expect("its time is over");
    assert!(probe.is_probe && probe.id == id(1));
    assert_eq!(glance(&mut pool, spark(now), now), "slot-2 by ordered", "one goes first");
    assert_eq!(glance(&mut pool, ask(now), now), "slot-1 by ordered");
    pool.answered(&id(1), Some("spark"), now.instant);
    pool.leave(&id(1), probe.number);
    assert_eq!(glance(&mut pool, spark(now), now), "slot-1 by ordered");
    // A reading of that limit ends it as well.
    pool.failed(&id(1), Some("spark"), fault(limit(), Some(after(now, 900))), (now.instant, now));
    let later = after(now, 5);
    let mut read = reading(&[(300, 10.0, 900)], later);
    assert!(!pool.read(&id(1), &read, later));
    assert_eq!(glance(&mut pool, spark(later), later), "slot-2 by ordered");
    read.limits.families[0].id = "codex_bengalfox".to_owned();
    assert!(pool.read(&id(1), &read, later));
    assert_eq!(glance(&mut pool, spark(later), later), "slot-1 by ordered");
    for n in 0..99 {
        pool.failed(&id(1), Some(&n.to_string()), fault(limit(), until), (t0.instant, t0));
    }
    assert!(pool.slots[0].by_model.len() <= MOST_MODELS);
}
