//! `POST /backend-api/codex/responses/compact`: the older way to compact, answered without a stream.
//!
//! What the user said stays as it is; everything else becomes one sealed item.

use http::HeaderMap;
use serde_json::Value;

use crate::sim::{
    Simulator,
    answer::Answer,
    request::item_kind,
    routes::Seen,
    tree::{elements, object, text},
    validate,
    world::Taken,
};

/// What a summary costs, in tokens and in bytes of its seal.
const SUMMARY: u64 = 120;

impl Simulator {
    pub(super) fn compact(&self, headers: &HeaderMap, seen: &Seen) -> Result<Answer, Answer> {
        let world = self.world();
        let account = self.admit(headers, &world)?;
        if world.compact_route == Taken::Refused {
            return Err(Answer::detail(404, "Not Found"));
        }
        self.check_allowance(&account, &world)?;
        let asked = validate::read_compaction(&seen.body, headers, &account, &world)?;
        if world.turn_cost > 0 {
            self.charge(&account, &world);
        }
        let said = |item: &&Value| item_kind(item) == "message" && text(item, "role") == "user";
        let mut output: Vec<_> =
            elements(&asked.body, "input").iter().filter(said).cloned().collect();
        output.push(object! {
            "id": self.mint().id("cmp_"),
            "type": "compaction",
            "encrypted_content": self.mint().seal(&account.id, 4 * SUMMARY),
        });
        let (input, cached) = self.look_up(&asked, self.unix(), world.cache_retention);
        let body = object! {
            "id": self.mint().id("resp_"),
            "object": "response.compaction",
            "created_at": self.unix(),
            "output": output,
            "usage": object! {
                "input_tokens": input,
                "input_tokens_details": object! {"cached_tokens": cached},
                "output_tokens": SUMMARY,
                "output_tokens_details": object! {"reasoning_tokens": 0},
                "total_tokens": input + SUMMARY,
            },
        };
        Ok(Answer::json(200, &body).with_all(self.meter(&account, &world).headers()))
    }
}
