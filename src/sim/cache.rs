//! The prompt cache: who asked for the same beginning before, in the same session.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::sim::{plan::TOKEN, request::Asked, tree::count};

/// Shorter prompts are never cached.
const FLOOR: u64 = 1024;

/// Cached tokens come in multiples of this.
const GRAIN: u64 = 128;

/// How many sessions are remembered before all of them are forgotten.
const SESSIONS: usize = 1000;

/// How many prompts of a session are remembered.
const REMEMBERED: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    account: String,
    session: String,
    model: String,
}

#[derive(Clone, Debug)]
struct Prompt {
    /// Whole seconds since 1970.
    at: i64,
    bytes: Vec<u8>,
}

#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<HashMap<Key, Vec<Prompt>>>);

impl Cache {
    /// Tokens of this request and how many of them were cached; remembers it for the next one.
    pub(super) fn look_up(&self, asked: &Asked, now: i64, retention: u64) -> (u64, u64) {
        let bytes = asked.prompt();
        let tokens = count(bytes.len() / TOKEN);
        let Some(session) = &asked.session else { return (tokens, 0) };
        let key = Key {
            account: asked.account.id.clone(),
            session: session.clone(),
            model: asked.model.slug.clone(),
        };
        let mut sessions = self.0.lock();
        if sessions.len() > SESSIONS {
            sessions.clear();
        }
        let prompts = sessions.entry(key).or_default();
        prompts.retain(|prompt| now < prompt.at.saturating_add_unsigned(retention));
        let shared = prompts.iter().map(|prompt| shared(&prompt.bytes, &bytes)).max();
        let cached = count(shared.unwrap_or_default() / TOKEN) / GRAIN * GRAIN;
        prompts.push(Prompt { at: now, bytes });
        if prompts.len() > REMEMBERED {
            prompts.remove(0);
        }
        (tokens, if cached < FLOOR { 0 } else { cached })
    }
}

fn shared(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}
