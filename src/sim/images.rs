//! `POST /backend-api/codex/images/generations` and `.../images/edits`: one picture, whatever is asked
//! for, in one piece.
//!
//! Pictures have a window of their own, a day long; what is left of it stands in the headers of every
//! answer, also of one that refuses a request without a prompt.

use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use serde_json::Value;

use crate::sim::{
    Simulator,
    account::{Account, Trouble},
    answer::{self, Answer, Circumstances, usage_limit, usage_not_included},
    gauge::Gauge,
    input,
    items::PIXEL,
    routes::Seen,
    script::{Instead, Limit, Step},
    tree::{count, elements, given, list, object, text},
    validate,
    world::{Images, World},
};

const DAY: u64 = 24 * 3600;
const MOST_PICTURES: usize = 16;

/// What one picture costs to look at, and to make, in tokens.
const LOOKED_AT: u64 = 323;
const MADE: u64 = 196;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Generation,
    Edit,
}

impl Simulator {
    pub(super) async fn images(
        &self,
        kind: Kind,
        headers: &HeaderMap,
        seen: &Seen,
    ) -> Result<Response, Answer> {
        let world = self.world();
        let account = self.admit(headers, &world)?;
        if world.images == Images::Missing {
            return Err(Answer::empty(404));
        }
        let counted = |answer: Answer| answer.with_all(self.image_headers(&account, &world));
        let asked = read(&seen.body, kind).map_err(counted)?;
        self.check_images(&account, &world).map_err(counted)?;
        let step = self.image_step(text(&asked, "prompt"))?;
        let mut presence = self.open(seen.number);
        if let Some(pause) = step.shape.headers_pause {
            tokio::time::sleep(pause).await;
        }
        presence.finish();
        if let Some(instead) = &step.instead {
            let about = Circumstances { account: &account, model: "", now: self.unix() };
            return Err(counted(answer::instead(instead, about)));
        }
        self.charge_image(&account, &world);
        Ok(counted(Answer::json(200, &self.image(&asked))).into_response())
    }

    /// Refuses what the window of pictures has no room for, and accounts that make none.
    fn check_images(&self, account: &Account, world: &World) -> Result<(), Answer> {
        let about = Circumstances { account, model: "", now: self.unix() };
        match account.trouble {
            Trouble::NotIncluded => return Err(usage_not_included(account)),
            Trouble::Overloaded => return Err(answer::instead(&Instead::Overloaded, about)),
            Trouble::None
            | Trouble::Deactivated
            | Trouble::Spent
            | Trouble::SpentInside
            | Trouble::Narrow
            | Trouble::OverloadedInside => {}
        }
        let (used, resets_in) = self.image_window(account, world);
        if used < 100 {
            return Ok(());
        }
        Err(Answer::json(429, &usage_limit(Limit::Both(resets_in), about)))
    }

    /// What comes next: the script, else what the prompt asks for.
    fn image_step(&self, prompt: &str) -> Result<Step, Answer> {
        if let Some(step) = self.next_scripted() {
            return Ok(step);
        }
        let step = Step::in_text(prompt).map_err(|error| Answer::detail(400, error.to_string()))?;
        Ok(step.unwrap_or_default())
    }

    /// Percent used of the window, and in how many seconds it resets.
    fn image_window(&self, account: &Account, world: &World) -> (u64, u64) {
        let now = self.unix();
        let Gauge { used, resets_at } = self.accounts().gauges(account, now).images;
        let left =
            resets_at.map_or(DAY, |at| u64::try_from(at.saturating_sub(now)).unwrap_or_default());
        (used.unwrap_or(world.images_used), left)
    }

    fn charge_image(&self, account: &Account, world: &World) {
        if world.image_cost > 0 {
            let now = self.unix();
            let end = Some(now.saturating_add_unsigned(DAY));
            let mut accounts = self.accounts();
            accounts.gauges(account, now).images.spend(world.image_cost, world.images_used, end);
        }
    }

    fn image_headers(&self, account: &Account, world: &World) -> Vec<(String, String)> {
        let (used, resets_in) = self.image_window(account, world);
        let resets_at = self.unix().saturating_add_unsigned(resets_in);
        let headers = [
            ("x-codex-active-limit", "imagegen_premium".to_owned()),
            ("x-codex-plan-type", account.plan.to_owned()),
            ("x-codex-primary-used-percent", format!("{used}.0")),
            ("x-codex-primary-window-minutes", (DAY / 60).to_string()),
            ("x-codex-primary-reset-at", resets_at.to_string()),
            ("x-codex-primary-reset-after-seconds", resets_in.to_string()),
        ];
        headers.map(|(name, value)| (name.to_owned(), value)).into()
    }

    fn image(&self, asked: &Value) -> Value {
        let words = count(text(asked, "prompt").split_whitespace().count());
        let looked_at = LOOKED_AT * count(elements(asked, "images").len());
        let background = match text(asked, "background") {
            "transparent" => "transparent",
            _ => "opaque",
        };
        object! {
            "created": self.unix(),
            "background": background,
            "data": list![object! {"b64_json": PIXEL, "generation_id": self.mint().id("gen_")}],
            "output_format": "png",
            // The service chooses these, whatever is asked for.
            "quality": "low",
            "size": "1254x1254",
            "usage": object! {
                "input_tokens": words + looked_at,
                "input_tokens_details": object! {"image_tokens": looked_at, "text_tokens": words},
                "output_tokens": MADE,
                "output_tokens_details": object! {"image_tokens": MADE, "text_tokens": 0},
                "total_tokens": words + looked_at + MADE,
            },
        }
    }

    /// How much of the window of an account's pictures is used, in percent, and in how many seconds
    /// it resets.
    pub fn set_images_used(&self, account: &str, percent: u64, resets_in: u64) {
        self.adjust_images(account, Some(percent), Some(resets_in));
    }

    /// The same of what is given.
    pub(super) fn adjust_images(&self, account: &str, used: Option<u64>, resets_in: Option<u64>) {
        let now = self.unix();
        let end = resets_in.map(|seconds| now.saturating_add_unsigned(seconds));
        let mut accounts = self.accounts();
        let account = accounts.named(account);
        accounts.gauges(&account, now).images.adjust(used, end);
    }
}

fn read(body: &[u8], kind: Kind) -> Result<Value, Answer> {
    let asked: Value = serde_json::from_slice(body).unwrap_or_default();
    if text(&asked, "prompt").is_empty() {
        return Err(validate::missing("prompt"));
    }
    let background = text(&asked, "background");
    let known = ["auto", "opaque", "transparent"];
    if given(&asked, "background") && !known.contains(&background) {
        return Err(validate::invalid_value(background, "background", &known));
    }
    if kind == Kind::Edit {
        check_pictures(&asked)?;
    }
    Ok(asked)
}

fn check_pictures(asked: &Value) -> Result<(), Answer> {
    let images = elements(asked, "images");
    if images.is_empty() {
        return Err(validate::missing("images"));
    }
    if images.len() > MOST_PICTURES {
        let message = "Invalid 'images': array too long.";
        return Err(validate::wrong(message, Some("images"), Some("array_above_max_length")));
    }
    for (n, image) in images.iter().enumerate() {
        if !given(image, "file_id") && !input::is_picture(text(image, "image_url")) {
            return Err(input::bad_image(&format!("images[{n}].image_url")));
        }
    }
    Ok(())
}
