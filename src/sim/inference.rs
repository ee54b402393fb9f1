//! `POST /backend-api/codex/responses`: from a request to a stream.
//!
//! **Invariant:** a step of the script is used up only by a request that is otherwise in order.

use axum::response::Response;
use http::{
    HeaderMap,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};

use crate::sim::{
    Simulator,
    account::{Account, Trouble},
    answer::{self, Answer, Circumstances, set_headers, usage_limit, usage_not_included},
    body,
    limits::Meter,
    models,
    record::Presence,
    request::Asked,
    routes::Seen,
    script::{At, Ending, Form, Instead, LIMIT_SECONDS, Limit, ScriptError, Step},
    turn::Teacher,
    validate,
    world::World,
};

impl Simulator {
    pub(super) async fn infer(&self, headers: &HeaderMap, seen: &Seen) -> Result<Response, Answer> {
        let world = self.world();
        let account = self.admit(headers, &world)?;
        self.check_allowance(&account, &world)?;
        let asked = validate::read(&seen.body, headers, &account, &world)?;
        let step =
            self.next_step(&asked).map_err(|error| Answer::detail(400, error.to_string()))?;
        let presence = self.open(seen.number);
        if let Some(pause) = step.shape.headers_pause {
            tokio::time::sleep(pause).await;
        }
        if let Some(instead) = &step.instead {
            return Err(self.instead(instead, &asked, &world, presence));
        }
        if asked.account.trouble == Trouble::Narrow && !asked.model.is_general() {
            return Err(self.narrow(&asked, &world, presence));
        }
        Ok(self.stream(&asked, &step, &world, presence))
    }

    /// Refuses what an account has used up or never had.
    pub(super) fn check_allowance(&self, account: &Account, world: &World) -> Result<(), Answer> {
        let about = Circumstances { account, model: "", now: self.unix() };
        let meter = self.meter(account, world);
        let limited = |limit| Answer::json(429, &usage_limit(limit, about));
        let (answer, meter) = match account.trouble {
            Trouble::Spent => (limited(Limit::Both(LIMIT_SECONDS)), meter),
            Trouble::NotIncluded => (usage_not_included(account), meter.spent()),
            Trouble::Overloaded => return Err(answer::instead(&Instead::Overloaded, about)),
            Trouble::None
            | Trouble::Deactivated
            | Trouble::Narrow
            | Trouble::SpentInside
            | Trouble::OverloadedInside => match meter.limit() {
                Some(limit) => (limited(limit), meter),
                None => return Ok(()),
            },
        };
        Err(answer.with_all(meter.headers()))
    }

    /// What comes next: what is wrong with the account, else the script, else what the model's name
    /// and the user's text ask for.
    fn next_step(&self, asked: &Asked) -> Result<Step, ScriptError> {
        if let Some(step) = troubled(asked.account.trouble) {
            return Ok(step);
        }
        if let Some(step) = self.next_scripted() {
            return Ok(step);
        }
        let mut step = Step::in_text(&asked.last_user())?.unwrap_or_default();
        if let Some(name) = asked.model.slug.strip_prefix("sim-") {
            step.apply(name)?;
        }
        Ok(step)
    }

    /// The refusal of a model that has a limit of its own.
    fn narrow(&self, asked: &Asked, world: &World, mut presence: Presence) -> Answer {
        presence.finish();
        let about =
            Circumstances { account: &asked.account, model: &asked.model.slug, now: self.unix() };
        let answer = Answer::json(429, &usage_limit(Limit::Both(LIMIT_SECONDS), about));
        answer.with_all(self.meter(&asked.account, world).narrow_headers())
    }

    fn instead(
        &self,
        instead: &Instead,
        asked: &Asked,
        world: &World,
        mut presence: Presence,
    ) -> Answer {
        presence.finish();
        let about =
            Circumstances { account: &asked.account, model: &asked.model.slug, now: self.unix() };
        let answer = answer::instead(instead, about);
        if answer.status.as_u16() != 429 {
            return answer;
        }
        let meter = self.meter(&asked.account, world);
        let meter = if matches!(instead, Instead::Limit(_)) { meter.spent() } else { meter };
        answer.with_all(meter.headers())
    }

    fn stream(&self, asked: &Asked, step: &Step, world: &World, presence: Presence) -> Response {
        self.count(|counters| counters.streams += 1);
        if world.turn_cost > 0 && !step.ending.is_fault() {
            self.charge(&asked.account, world);
        }
        let meter = self.meter(&asked.account, world);
        let limit_event = world.limit_events.then(|| meter.event());
        let now = self.unix();
        let (input_tokens, cached_tokens) = self.look_up(asked, now, world.cache_retention);
        let limit_event = limit_event.as_ref();
        let mint = self.mint();
        let teacher =
            Teacher { asked, step, world, mint, now, input_tokens, cached_tokens, limit_event };
        let turn = teacher.turn();
        let mut response = Response::new(body::play(&turn, &step.shape, presence));
        let mut headers = meter.headers();
        let mut set = |name: &str, value: &str| headers.push((name.to_owned(), value.to_owned()));
        set(CONTENT_TYPE.as_str(), "text/event-stream");
        set(CACHE_CONTROL.as_str(), "no-cache");
        set("openai-model", &asked.model.slug);
        set("openai-processing-ms", "42");
        set("x-models-etag", &models::etag(world));
        set("x-reasoning-included", "true");
        if asked.turn_state.is_none() {
            set("x-codex-turn-state", &self.mint().seal(&asked.account.id, 24));
        }
        set_headers(&mut response, headers);
        response
    }

    /// Takes what a turn costs out of the primary window.
    pub(super) fn charge(&self, account: &Account, world: &World) {
        let meter = self.meter(account, world);
        let end = meter.primary_end();
        let mut accounts = self.accounts();
        let gauges = accounts.gauges(account, meter.now);
        gauges.primary.spend(world.turn_cost, world.primary_used, end);
    }

    /// What is used of an account, and what it may still get.
    pub(super) fn meter<'a>(&self, account: &'a Account, world: &'a World) -> Meter<'a> {
        let now = self.unix();
        let gauges = *self.accounts().gauges(account, now);
        let resets = self.redemptions().left(account, world);
        let is_spent = account.trouble == Trouble::Spent;
        Meter { world, account, gauges, resets, is_spent, now }
    }
}

/// How every turn goes of an account whose turns begin and then fail.
fn troubled(trouble: Trouble) -> Option<Step> {
    let (code, form) = match trouble {
        Trouble::SpentInside => ("usage_limit_reached", Form::ErrorThenFailed),
        Trouble::OverloadedInside => ("server_is_overloaded", Form::Nested),
        Trouble::None
        | Trouble::Deactivated
        | Trouble::Spent
        | Trouble::Narrow
        | Trouble::NotIncluded
        | Trouble::Overloaded => return None,
    };
    let ending = Ending::Fault { code: code.to_owned(), form, at: At::Start };
    Some(Step { ending, ..Step::default() })
}
