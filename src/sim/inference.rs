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
    script::{Instead, LIMIT_SECONDS, Limit, ScriptError, Step},
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
        Ok(self.stream(&asked, &step, &world, presence))
    }

    /// Refuses what an account has used up or never had.
    pub(super) fn check_allowance(&self, account: &Account, world: &World) -> Result<(), Answer> {
        let about = Circumstances { account, model: "", now: self.unix() };
        let answer = match account.trouble {
            Trouble::None | Trouble::Deactivated => return Ok(()),
            Trouble::Spent => Answer::json(429, &usage_limit(Limit::Both(LIMIT_SECONDS), about)),
            Trouble::NotIncluded => usage_not_included(account),
        };
        Err(answer.with_all(self.meter(account, world, true).headers()))
    }

    /// What comes next: the script, else what the model's name and the user's text ask for.
    fn next_step(&self, asked: &Asked) -> Result<Step, ScriptError> {
        if let Some(step) = self.next_scripted() {
            return Ok(step);
        }
        let mut step = Step::in_text(&asked.last_user())?.unwrap_or_default();
        if let Some(name) = asked.model.slug.strip_prefix("sim-") {
            step.apply(name)?;
        }
        Ok(step)
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
        let spent = matches!(instead, Instead::Limit(_));
        answer.with_all(self.meter(&asked.account, world, spent).headers())
    }

    fn stream(&self, asked: &Asked, step: &Step, world: &World, presence: Presence) -> Response {
        self.count(|counters| counters.streams += 1);
        let now = self.unix();
        let (input_tokens, cached_tokens) = self.look_up(asked, now, world.cache_retention);
        let teacher =
            Teacher { asked, step, world, mint: self.mint(), now, input_tokens, cached_tokens };
        let turn = teacher.turn();
        let mut response = Response::new(body::play(&turn, &step.shape, presence));
        let mut headers = self.meter(&asked.account, world, false).headers();
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

    /// What is used of an account; all of it when it is `spent`.
    pub(super) fn meter<'a>(
        &self,
        account: &'a Account,
        world: &'a World,
        spent: bool,
    ) -> Meter<'a> {
        let used = self.accounts().used(account);
        let (primary, secondary) = used.unwrap_or((world.primary_used, world.secondary_used));
        let spent = spent || account.trouble == Trouble::Spent;
        let used = (if spent { 100 } else { primary }, secondary);
        Meter { world, account, used, now: self.unix() }
    }
}
