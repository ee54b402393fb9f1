//! What became of a request, for whoever asks why: the slots that were looked at, the attempts, what
//! was changed, and how long each part took.
//!
//! Kept in memory for the latest requests, and never written anywhere. It holds nothing that a
//! client or the upstream said, but names of models and parameters, none of them longer than names
//! are.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use parking_lot::Mutex;

use crate::slot::{
    Moment, SlotId,
    pool::{Look, Reason},
};

/// How many requests are remembered.
const MOST: usize = 512;
/// And how many steps of one: nobody tries more slots than there are.
const MOST_STEPS: usize = 64;
/// Names of models and parameters are shorter; what is longer is somebody's text.
const NAME_CHARS: usize = 100;

/// The story of one request. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Story(Arc<Mutex<Told>>);

/// What there is to tell.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub id: String,
    pub began: Option<Moment>,
    pub model: String,
    pub session: String,
    pub choices: Vec<Chosen>,
    pub attempts: Vec<Attempted>,
    /// Parameters that were left out, in the client's terms.
    pub left_out: Vec<String>,
    /// Whose the dialogue was before it came to the slot that served it.
    pub moved_from: Option<SlotId>,
    /// Whether thoughts that another account encrypted were left out.
    pub dropped_reasoning: bool,
    /// Time in which it waited for a place or for something to pass.
    pub waited: Duration,
    pub usage: Option<Tokens>,
    pub ended: Option<(Duration, String)>,
}

/// What an answer cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    pub input: u64,
    pub cached: u64,
    pub output: u64,
}

/// One choice of a slot, or that there was none.
#[derive(Clone, Debug)]
pub struct Chosen {
    pub looks: Vec<Look>,
    pub slot: Option<(SlotId, Reason)>,
}

/// One sending of the request.
#[derive(Clone, Debug)]
pub struct Attempted {
    pub slot: SlotId,
    /// Since the request began.
    pub sent: Duration,
    /// How long of what follows was making a connection; nothing if one was there.
    pub connect: Duration,
    /// From sending to the head of the answer.
    pub headers: Option<Duration>,
    /// From there to the first output.
    pub first_output: Option<Duration>,
    /// How it failed, if it did.
    pub failure: Option<String>,
}

impl Story {
    /// It begins, or goes on in another way. Whether it is new.
    pub fn begin(&self, id: &str, model: &str, session: &str, now: Moment) -> bool {
        let mut told = self.0.lock();
        if told.began.is_some() {
            told.ended = None;
            return false;
        }
        id.clone_into(&mut told.id);
        told.model = name(model);
        told.session = name(session);
        told.began = Some(now);
        true
    }

    /// Who serves it, or served it last.
    pub fn slot(&self) -> Option<SlotId> {
        self.0.lock().attempts.last().map(|attempt| attempt.slot.clone())
    }

    pub fn chosen(&self, looks: Vec<Look>, slot: Option<(SlotId, Reason)>) {
        let mut told = self.0.lock();
        if told.choices.len() < MOST_STEPS {
            told.choices.push(Chosen { looks, slot });
        }
    }

    pub fn waited(&self, time: Duration) {
        self.0.lock().waited += time;
    }

    pub fn sent(&self, slot: &SlotId, now: Instant) {
        let mut told = self.0.lock();
        let sent = told.since(now);
        if told.attempts.len() >= MOST_STEPS {
            told.attempts.pop();
        }
        let slot = slot.clone();
        let attempt = Attempted {
            slot,
            sent,
            connect: Duration::ZERO,
            headers: None,
            first_output: None,
            failure: None,
        };
        told.attempts.push(attempt);
    }

    pub fn connected(&self, time: Duration) {
        let mut told = self.0.lock();
        if let Some(attempt) = told.attempts.last_mut() {
            attempt.connect = time;
        }
    }

    pub fn headers(&self, now: Instant) {
        self.of_last(now, |attempt, age| attempt.headers = Some(age.saturating_sub(attempt.sent)));
    }

    pub fn first_output(&self, now: Instant) {
        self.of_last(now, |attempt, age| {
            let headers = attempt.sent + attempt.headers.unwrap_or_default();
            attempt.first_output = Some(age.saturating_sub(headers));
        });
    }

    pub fn failed(&self, failure: String, now: Instant) {
        self.of_last(now, |attempt, _| attempt.failure = Some(failure));
    }

    fn of_last(&self, now: Instant, tell: impl FnOnce(&mut Attempted, Duration)) {
        let mut told = self.0.lock();
        let age = told.since(now);
        if let Some(attempt) = told.attempts.last_mut() {
            tell(attempt, age);
        }
    }

    pub fn left_out(&self, names: &[String]) {
        self.0.lock().left_out = names.iter().take(MOST_STEPS).map(|text| name(text)).collect();
    }

    pub fn moved(&self, from: Option<SlotId>, dropped_reasoning: bool) {
        let mut told = self.0.lock();
        told.moved_from = from;
        told.dropped_reasoning |= dropped_reasoning;
    }

    pub fn cost(&self, tokens: Tokens) {
        self.0.lock().usage = Some(tokens);
    }

    pub fn ended(&self, how: &str, now: Instant) {
        let mut told = self.0.lock();
        if told.ended.is_none() {
            told.ended = Some((told.since(now), how.to_owned()));
        }
    }

    pub fn told(&self) -> Told {
        self.0.lock().clone()
    }
}

impl Told {
    fn since(&self, now: Instant) -> Duration {
        self.began.map_or(Duration::ZERO, |began| now.saturating_duration_since(began.instant))
    }

    pub fn began_at(&self) -> Option<Timestamp> {
        self.began.map(|began| began.wall)
    }
}

/// As much of `text` as a name has.
fn name(text: &str) -> String {
    text.chars().take(NAME_CHARS).collect()
}

/// The latest stories. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Stories(Arc<Mutex<VecDeque<(String, Story)>>>);

impl Stories {
    pub fn add(&self, id: &str, story: &Story) {
        let mut stories = self.0.lock();
        if stories.len() >= MOST {
            stories.pop_front();
        }
        stories.push_back((id.to_owned(), story.clone()));
    }

    pub fn find(&self, id: &str) -> Option<Told> {
        let stories = self.0.lock();
        stories.iter().rev().find(|(known, _)| known == id).map(|(_, story)| story.told())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn a_story_tells_each_part_and_the_oldest_is_forgotten() {
        let clock = Clock::system();
        let t0 = Moment { wall: clock.now(), instant: clock.instant() };
        let after = |millis| t0.instant + Duration::from_millis(millis);
        let stories = Stories::default();
        let story = Story::default();
        assert!(story.begin("req_1", "m", "s", t0));
        story.ended("refused", after(5));
        assert!(!story.begin("req_1", "m", "s", t0), "it goes on");
        story.sent(&SlotId::numbered(1), after(10));
        story.failed("no".to_owned(), after(20));
        story.sent(&SlotId::numbered(2), after(30));
        story.headers(after(80));
        story.first_output(after(100));
        story.ended("completed", after(200));
        story.ended("again", after(300));
        stories.add("req_1", &story);
        let told = stories.find("req_1").expect("known");
        assert_eq!(story.slot(), Some(SlotId::numbered(2)));
        assert_eq!(told.attempts[0].failure.as_deref(), Some("no"));
        let millis = |time: Option<Duration>| time.map(|time| time.as_millis());
        assert_eq!(millis(told.attempts[1].headers), Some(50));
        assert_eq!(millis(told.attempts[1].first_output), Some(20));
        assert_eq!(told.ended, Some((Duration::from_millis(200), "completed".to_owned())));
        (0..MOST).for_each(|n| stories.add(&n.to_string(), &Story::default()));
        assert!(stories.find("req_1").is_none());
        let long = "x".repeat(20 << 20);
        let story = Story::default();
        story.begin(&long[..9], &long, &long, t0);
        story.left_out(&vec![long; 100]);
        let told = story.told();
        let sizes = [told.model.len(), told.session.len(), told.left_out[0].len()];
        assert_eq!((sizes, told.left_out.len()), ([NAME_CHARS; 3], MOST_STEPS));
    }
}
