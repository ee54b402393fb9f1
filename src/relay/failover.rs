//! From slot to slot, until one serves the request or nobody is left.
//!
//! Every slot that can serve is tried once, in the order of the choice. Those whose failure may pass
//! by itself are tried again after a pause, as often as the settings say. All of this happens before
//! anything of an answer has reached the client. What the client is told when nobody is left does not
//! depend on the order in which they were tried.
//!
//! Pictures go the same way (`images`), with a window of their own.
//!
//! A dialogue that comes to another slot than its own is sent whole, without the thoughts that only
//! the former account can read, and without the state of its turn.
//!
//! **Invariant:** a failure that is the request's own surfaces at once; no other slot is asked.
//! **Invariant:** no slot is tried twice in one pass.

use std::{
    collections::HashSet,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use http::HeaderMap;

use super::{
    Refused, Relay,
    attempt::Asked,
    fault::Course,
    learned::Lesson,
    line::Wanted,
    slots::{Lease, digest},
    story::Story,
};
use crate::{
    auth::LoginError,
    clock::to_second,
    credential::Credential,
    id::RequestId,
    slot::{
        SlotId,
        health::Why,
        pool::{Look, NoSlot, Slot, names},
        verdict::Verdict,
        window::{Limits, Source},
    },
    upstream::{
        catalogue::Catalogue,
        failure::{Failure, Refusal, UsageLimit},
    },
    wire::{
        model::{Suffixed, alias_of},
        request::Translated,
    },
};

/// A wait that the upstream asks for and that is longer than this is the client's to wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Nobody can serve a request, and why not.
#[derive(Clone, Debug)]
pub struct NoneLeft {
    pub looks: Vec<Look>,
    /// Whether it is for want of a place only.
    pub is_full: bool,
    /// How long until one can be expected to serve again.
    pub wait: Option<Duration>,
}

impl fmt::Display for NoneLeft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.looks.is_empty() {
            return f.write_str("too many requests wait already");
        }
        let one = |look: &Look| match look.verdict.evident_until() {
            // To the second: nobody needs more, and it stays readable.
            Some(until) => {
                let at = to_second(until);
                format!("{}: {}, until {at}", look.id, look.verdict.sentence())
            }
            None => format!("{}: {}", look.id, look.verdict.sentence()),
        };
        f.write_str(&self.looks.iter().map(one).collect::<Vec<_>>().join("; "))
    }
}

/// What an attempt is made with.
#[derive(Clone, Debug)]
pub struct Usable {
    pub catalogue: Catalogue,
    pub credential: Arc<Credential>,
}

/// One attempt.
#[derive(Debug)]
pub struct Sending<'a> {
    pub lease: &'a Lease,
    pub story: &'a Story,
    pub credential: &'a Credential,
    pub request: Translated,
    /// The client's own headers, of which those of a Codex client's turn are passed on.
    pub turn: HeaderMap,
}

/// An answer, and who gave it.
#[derive(Debug)]
pub struct Served<T> {
    pub answer: T,
    pub lease: Lease,
    pub credential: Arc<Credential>,
    pub sent: Instant,
}

/// How far a request has come.
#[derive(Default)]
struct Tour {
    /// Those that were asked in this pass, and those that need not be asked again.
    tried: Vec<SlotId>,
    /// How each last failed.
    failures: Vec<(SlotId, Refused)>,
    passes: u32,
}

impl Tour {
    fn failed(&mut self, id: SlotId, refused: Refused) {
        self.failures.retain(|(known, _)| *known != id);
        self.tried.push(id.clone());
        self.failures.push((id, refused));
    }

    fn failure_of(&self, id: &SlotId) -> Option<&Refused> {
        self.failures.iter().find(|(known, _)| known == id).map(|(_, refused)| refused)
    }

    /// The latest failure that may pass by itself.
    fn may_pass(&self) -> Option<&Refused> {
        let passes = |(_, refused): &&(SlotId, Refused)| Course::of(refused).may_pass();
        self.failures.iter().rfind(passes).map(|(_, refused)| refused)
    }

    /// Those that may fare better by now are tried again.
    fn again(&mut self) {
        self.passes += 1;
        let Self { tried, failures, .. } = self;
        let stays = |(_, refused): &&(SlotId, Refused)| !Course::of(refused).may_pass();
        tried.retain(|id| failures.iter().filter(stays).any(|(known, _)| known == id));
    }
}

impl Relay {
    /// Attempts `asked` at one slot after another.
    ///
    /// # Errors
    ///
    /// When the request is refused, or nobody is left who could serve it.
    pub(super) async fn persist<T>(
        &self,
        asked: &Asked,
        attempt: &(impl AsyncAttempt<T> + Sync),
    ) -> Result<Served<T>, Refused> {
        let Asked { id, request, story, .. } = asked;
        self.remember_story((id, story), &request.model, &request.session);
        let wanted = Wanted {
            session: Some(request.session.clone()),
            model: Some(self.meant(&request.model)),
            tried: Vec::new(),
            only: asked.only.clone(),
        };
        self.tour(&wanted, story, &ByText { relay: self, asked, attempt }).await
    }

    /// Has one slot after another serve what is wanted.
    ///
    /// # Errors
    ///
    /// When the request is refused, or nobody is left who could serve it.
    pub(super) async fn tour<T>(
        &self,
        wanted: &Wanted,
        story: &Story,
        serve: &(impl AsyncServe<T> + Sync),
    ) -> Result<T, Refused> {
        let mut tour = Tour::default();
        let since = self.clock.instant();
        // One patience for all times in the line together.
        let mut patience = self.slots.settings().patience;
        let outcome = loop {
            let left = Wanted { tried: tour.tried.clone(), ..wanted.clone() };
            let began = self.clock.instant();
            let taken = self.slots.take(left, (since, began + patience)).await;
            let in_line = self.clock.instant().saturating_duration_since(began);
            patience = patience.saturating_sub(in_line);
            story.waited(in_line);
            let failed = match taken {
                Ok(lease) => {
                    let chosen = (lease.id().clone(), lease.choice.reason);
                    story.chosen(lease.choice.looks.clone(), Some(chosen));
                    match serve.serve(lease).await {
                        Ok(served) => return Ok(served),
                        Err(failed) => failed,
                    }
                }
                Err(none) => {
                    story.chosen(none.looks.clone(), None);
                    match self.pause(&mut tour).await {
                        Some(pause) => story.waited(pause),
                        None => break self.refusal(wanted, &tour, none),
                    }
                    continue;
                }
            };
            let (id, refused) = *failed;
            let course = Course::of(&refused);
            tour.failed(id, refused.clone());
            match course {
                Course::Elsewhere | Course::ElsewhereOrLater => {}
                // Whatever failed before: this one may have been paid for, or is the client's own.
                Course::Surface => break refused,
                Course::Later => match self.pause(&mut tour).await {
                    Some(pause) => story.waited(pause),
                    None => break refused,
                },
            }
        };
        story.ended("refused", self.clock.instant());
        Err(outcome)
    }

    pub(super) fn remember_story(
        &self,
        (id, story): (&RequestId, &Story),
        model: &str,
        session: &str,
    ) {
        if story.begin(id.as_str(), model, session, self.slots.now()) {
            self.stories.add(id.as_str(), story);
        }
    }

    /// The model that slots are chosen by: what the owner's name stands for, without an effort if
    /// some slot is known to have the model without.
    fn meant(&self, asked: &str) -> String {
        let named = alias_of(&self.settings.aliases, asked).unwrap_or(asked);
        let Some(name) = Suffixed::read(named) else { return named.to_owned() };
        let is_known = self.slots.view(|pool, _| {
            let allows = |slot: &Slot| names(&slot.wishes.models, name.model);
            pool.slots().any(|slot| allows(slot) || slot.has(name.model))
        });
        if is_known { name.model.to_owned() } else { named.to_owned() }
    }

    /// Waits before those are tried again whose failure may pass. How long it waited.
    async fn pause(&self, tour: &mut Tour) -> Option<Duration> {
        if tour.passes >= self.settings.retries {
            return None;
        }
        let usual = self.settings.backoff.saturating_mul(1 << tour.passes.min(6));
        let pause = match tour.may_pass()? {
            Refused::Attempt(failure) => failure.retry_after(self.clock.now()),
            Refused::Login(_) | Refused::Model { .. } | Refused::NoSlot(_) => None,
        };
        let pause = pause.unwrap_or(usual).max(usual);
        if pause > LONGEST_PAUSE {
            return None;
        }
        tour.again();
        // Those who failed together do not come back together.
        let spread = crate::clock::random().map_or(0, |[byte]| byte);
        let pause = pause.mul_f64(0.75 + f64::from(spread) / 512.0);
        tokio::time::sleep(pause).await;
        Some(pause)
    }

    /// What the client is told when nobody is left: what may pass soonest. Where there is one slot
    /// only, that is how it failed: nobody need know that it is one.
    fn refusal(&self, wanted: &Wanted, tour: &Tour, none: NoSlot) -> Refused {
        let is_single = self.slots.is_single();
        let single = tour.failures.last().filter(|_| is_single).map(|(_, refused)| refused);
        if let Some(failure) = tour.may_pass().or(single) {
            return failure.clone();
        }
        let model = wanted.model.as_deref();
        let NoSlot { looks, is_full, wait } = none;
        // Whoever asked for one slot wants to hear of no other.
        let is_asked = |look: &Look| look.verdict != Verdict::NotAsked;
        let looks = looks.into_iter().filter(is_asked).map(|look| self.told(look, model, tour));
        let looks: Vec<_> = looks.collect();
        if !is_full {
            let single = looks.first().filter(|_| is_single).and_then(|look| self.as_failed(look));
            let alone =
                || single.or_else(|| self.all_signed_out(&looks)).or_else(|| no_images(&looks));
            if let Some(refused) = no_model(&looks, tour).or_else(alone) {
                return refused;
            }
        }
        // What was just tried may be back before what was not.
        let now = self.clock.now();
        let back = looks.iter().filter_map(|look| look.verdict.until()).min();
        let back = back.and_then(|until| Duration::try_from(until.duration_since(now)).ok());
        let wait = [wait, back].into_iter().flatten().min();
        Refused::NoSlot(Box::new(NoneLeft { looks, is_full, wait }))
    }

    /// What was tried rests now, or does not have the model: that is what there is to tell of it.
    fn told(&self, look: Look, model: Option<&str>, tour: &Tour) -> Look {
        if look.verdict != Verdict::Tried {
            return look;
        }
        if matches!(tour.failure_of(&look.id), Some(Refused::Model { .. })) {
            return Look { verdict: Verdict::Model, ..look };
        }
        let state =
            self.slots.view(|pool, now| Some(pool.state_for(pool.slot(&look.id)?, model, now)));
        let state = state.filter(|state| !state.can_serve());
        Look { verdict: state.unwrap_or(look.verdict), id: look.id }
    }

    /// What somebody is told who was not let through to a slot that rests: how it failed before.
    fn as_failed(&self, look: &Look) -> Option<Refused> {
        match &look.verdict {
            Verdict::Exhausted { until, .. } => {
                let limit = match self.slots.setback(&look.id) {
                    Some(Refused::Attempt(Failure::UsageLimit(limit))) => *limit,
                    Some(_) | None => UsageLimit::default(),
                };
                let limit = UsageLimit { resets_at: Some(*until), ..limit };
                Some(Refused::Attempt(Failure::UsageLimit(Box::new(limit))))
            }
            Verdict::Resting { why: Why::ModelLimit { limit }, until, .. } => {
                let limits = Limits { active: Some(limit.clone()), ..Limits::default() };
                let resets_at = Some(*until);
                let limit = UsageLimit { resets_at, limits, ..UsageLimit::default() };
                Some(Refused::Attempt(Failure::UsageLimit(Box::new(limit))))
            }
            Verdict::Resting { why: Why::RateLimit, until, .. } => {
                let wait = Duration::try_from(until.duration_since(self.clock.now())).ok();
                Some(Refused::Attempt(Failure::RateLimited { retry_after: wait }))
            }
            Verdict::Resting { why: Why::NoImages, .. } => {
                Some(Refused::Attempt(Failure::NoImages))
            }
            Verdict::Resting { .. } => self.slots.setback(&look.id),
            Verdict::Ready
            | Verdict::MayProbe
            | Verdict::Spent { .. }
            | Verdict::Probed(_)
            | Verdict::Full
            | Verdict::Tried
            | Verdict::NotAsked
            | Verdict::Disabled
            | Verdict::Paused
            | Verdict::Model
            | Verdict::Reserved { .. } => None,
        }
    }

    /// When every slot that could serve has lost its login, that is what is wrong.
    fn all_signed_out(&self, looks: &[Look]) -> Option<Refused> {
        let is_out =
            |look: &Look| matches!(look.verdict, Verdict::Resting { why: Why::NeedsLogin(_), .. });
        let is_off = |look: &Look| matches!(look.verdict, Verdict::Disabled | Verdict::Paused);
        let all = looks.iter().all(|look| is_out(look) || is_off(look));
        let first = looks.iter().find(|look| is_out(look)).filter(|_| all)?;
        self.slots.setback(&first.id)
    }

    /// Attempts `asked` at one slot until there is an answer, or a failure that this one cannot
    /// do anything about.
    async fn serve<T>(
        &self,
        lease: Lease,
        asked: &Asked,
        attempt: &(impl AsyncAttempt<T> + Sync),
    ) -> Result<Served<T>, Box<(SlotId, Refused)>> {
        let began = self.clock.instant();
        let mut sent = began;
        match self.serve_here(&lease, asked, attempt, &mut sent).await {
            Ok((answer, credential)) => Ok(Served { answer, lease, credential, sent }),
            Err(refused) => {
                lease.failed(&refused, sent);
                Err(Box::new((lease.id().clone(), refused)))
            }
        }
    }

    async fn serve_here<T>(
        &self,
        lease: &Lease,
        asked: &Asked,
        attempt: &(impl AsyncAttempt<T> + Sync),
        sent: &mut Instant,
    ) -> Result<(T, Arc<Credential>), Refused> {
        let login = &lease.account.login;
        let credential = login.credential().await?;
        lease.used_by(&credential.account_id);
        let mut account = Usable { catalogue: lease.account.catalogue.clone(), credential };
        let readable = Readable::of(lease, asked);
        let named = self.named(readable.request.clone(), &account).await;
        let mut request = self.lightened(named, &account.credential);
        let mut unreadable = Vec::new();
        let mut n_replaced = 0;
        let mut lessons = Vec::new();
        loop {
            *sent = self.clock.instant();
            asked.story.sent(lease.id(), *sent);
            let (turn, sent) = (readable.turn.clone(), *sent);
            let (story, credential) = (&asked.story, &*account.credential);
            let sending = Sending { lease, story, credential, request: request.clone(), turn };
            let failure = match attempt.attempt(sending).await {
                Ok(answer) => {
                    login.proven(&account.credential);
                    // Only what helped was right.
                    self.remember(lessons, &account.credential, &asked.request);
                    lease.answered(sent);
                    readable.settle(lease, asked, &unreadable);
                    return Ok((answer, account.credential));
                }
                Err(failure) => failure,
            };
            asked.story.failed(failure.brief(), self.clock.instant());
            if let Failure::UsageLimit(limit) = &failure {
                self.note_limits(lease, (limit.limits.clone(), Source::Refusal), sent);
            }
            if n_replaced < 2 && matches!(failure, Failure::Unauthorized { .. }) {
                // What another process had put there may have been too old as well.
                n_replaced += 1;
                let refused = (&account.credential, n_replaced);
                account.credential = self.renewed(lease, refused, failure).await?;
                continue;
            }
            let is_unreadable = refuses_thoughts(&failure);
            let (lighter, lesson) = self.mended(asked, &request, failure, &account).await?;
            if is_unreadable {
                // They are left out from then on, and not refused at every turn.
                unreadable = request.thoughts(digest);
            }
            lessons.extend(lesson);
            request = lighter;
        }
    }

    /// What there is in place of a credential that was refused for the `nth` time.
    pub(super) async fn renewed(
        &self,
        lease: &Lease,
        (refused, nth): (&Arc<Credential>, u32),
        failure: Failure,
    ) -> Result<Arc<Credential>, Refused> {
        match lease.account.login.after_unauthorized(refused).await {
            Ok(renewed) => Ok(renewed),
            Err(error @ LoginError::AccountMismatch) => {
                // Somebody has signed in to the slot meanwhile, with another account, of which this
                // says nothing.
                self.look_again().await;
                Err(error.into())
            }
            Err(error) if nth == 1 => Err(error.into()),
            Err(_) => Err(Refused::Attempt(failure)),
        }
    }

    /// The request without what was wrong about it, and what is learnt by that.
    async fn mended(
        &self,
        asked: &Asked,
        request: &Translated,
        failure: Failure,
        account: &Usable,
    ) -> Result<(Translated, Option<Lesson>), Refused> {
        if let Failure::ModelNotFound(refusal) = failure {
            let suggestions = self.suggestions(request, account).await;
            return Err(Refused::Model { refusal, suggestions });
        }
        let Failure::Request(refusal) = &failure else { return Err(Refused::Attempt(failure)) };
        let lesson = Lesson::of(&failure).filter(|_| self.settings.learn);
        let Some(lighter) = lighter(refusal, lesson.as_ref(), request) else {
            return Err(in_own_terms(refusal, &failure, request));
        };
        self.log_adaptation(&asked.id, request, &lighter).await;
        Ok((lighter, lesson))
    }
}

/// Something that sends a request once. A closure that borrows cannot say that its future can be
/// sent between threads, so this is a trait.
pub(super) trait AsyncAttempt<T> {
    fn attempt(&self, sending: Sending<'_>) -> impl Future<Output = Result<T, Failure>> + Send;
}

/// Something that has a slot serve a request. A trait for the same reason.
pub(super) trait AsyncServe<T> {
    /// What came of it; on failure also whose the place was.
    fn serve(&self, lease: Lease)
    -> impl Future<Output = Result<T, Box<(SlotId, Refused)>>> + Send;
}

/// Serves a request that the upstream answers with text.
struct ByText<'a, A> {
    relay: &'a Relay,
    asked: &'a Asked,
    attempt: &'a A,
}

impl<T, A: AsyncAttempt<T> + Sync> AsyncServe<Served<T>> for ByText<'_, A> {
    async fn serve(&self, lease: Lease) -> Result<Served<T>, Box<(SlotId, Refused)>> {
        self.relay.serve(lease, self.asked, self.attempt).await
    }
}

/// A request as the account of a slot can read it.
struct Readable {
    request: Translated,
    turn: HeaderMap,
    /// Digests of what it could not read.
    foreign: Vec<u64>,
    /// Whether the dialogue is this slot's from now on.
    moves_in: bool,
}

impl Readable {
    fn of(lease: &Lease, asked: &Asked) -> Self {
        let Asked { request, turn, .. } = asked;
        let choice = &lease.choice;
        let mut request = request.clone();
        let turn = lease.own_turn(turn.clone(), &request.session);
        let mut foreign = Vec::new();
        let is_waiting = |look: &Look| look.verdict.is_occupied();
        let former = choice.former.as_ref();
        let former = former.and_then(|id| choice.looks.iter().find(|look| look.id == *id));
        // A dialogue whose slot is only busy goes back there.
        let moves_in = !former.is_some_and(is_waiting);
        let is_away = choice.former.is_some();
        if is_away || choice.own.is_some() {
            foreign = request.thoughts(digest);
        }
        if let Some(own) = &choice.own {
            // One slot had it for a while in place of another: what is not the other's is its.
            let own: HashSet<_> = own.iter().collect();
            foreign.retain(|thought| own.contains(thought) == is_away);
        }
        let knows: HashSet<_> = foreign.iter().chain(&choice.foreign).collect();
        let without = request.without_thoughts(&|thought| knows.contains(&digest(thought)));
        let has_dropped = without.is_some();
        if let Some(without) = without {
            request = without;
        }
        asked.story.moved(choice.former.clone(), has_dropped);
        Self { request, turn, foreign, moves_in }
    }

    /// The dialogue was served, after `unreadable` was found to be so.
    fn settle(&self, lease: &Lease, asked: &Asked, unreadable: &[u64]) {
        let session = &asked.request.session;
        if self.moves_in {
            lease.bind(session, &[&self.foreign, unreadable].concat());
        } else {
            lease.lent(session, &self.foreign);
        }
    }
}

fn in_own_terms(refusal: &Refusal, failure: &Failure, request: &Translated) -> Refused {
    let param = refusal.param.as_deref().or(failure.unsupported_parameter());
    let param = param.map(|param| request.own_name(param));
    Refused::Attempt(Failure::Request(Box::new(Refusal { param, ..refusal.clone() })))
}

/// The request without what the upstream refused about it, if it can do without.
///
/// Each such request has fewer parameters than the one before or a higher limit, so this comes to
/// an end.
fn lighter(refusal: &Refusal, lesson: Option<&Lesson>, request: &Translated) -> Option<Translated> {
    if let Some(lesson) = lesson {
        return lesson.heeded(request);
    }
    if is_about_thoughts(refusal) { request.without_reasoning() } else { None }
}

/// Whether what is refused is the reasoning of earlier turns that another account encrypted, or that
/// was cut on its way.
fn refuses_thoughts(failure: &Failure) -> bool {
    matches!(failure, Failure::Request(refusal) if is_about_thoughts(refusal))
}

fn is_about_thoughts(refusal: &Refusal) -> bool {
    refusal.code.as_deref() == Some("invalid_encrypted_content")
        || refusal.message.contains("encrypted content") && refusal.message.contains("verified")
}

/// That nobody makes pictures, if that is what is the matter with all who take part.
fn no_images(looks: &[Look]) -> Option<Refused> {
    let makes_none =
        |look: &Look| matches!(look.verdict, Verdict::Resting { why: Why::NoImages, .. });
    let is_off = |look: &Look| matches!(look.verdict, Verdict::Disabled | Verdict::Paused);
    let all = looks.iter().all(|look| makes_none(look) || is_off(look));
    (all && looks.iter().any(makes_none)).then_some(Refused::Attempt(Failure::NoImages))
}

/// That nobody has the model, if all who could be asked have been and said so.
fn no_model(looks: &[Look], tour: &Tour) -> Option<Refused> {
    let is_out = |it: &Verdict| matches!(it, Verdict::Model | Verdict::Disabled | Verdict::Paused);
    let said = tour.failures.iter().rfind(|(_, it)| matches!(it, Refused::Model { .. }))?;
    looks.iter().all(|look| is_out(&look.verdict)).then(|| said.1.clone())
}
