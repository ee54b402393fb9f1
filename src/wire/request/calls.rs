//! Calls of tools and their answers inside one request.
//!
//! The upstream refuses a history in which a call has no answer or an answer has no call. Saying
//! so here names the item in the client's own terms and costs no upstream call.
//!
//! **Invariant:** an answer counts only after its call.
//!
//! Not here: what a call looks like in either dialect (`wire::request::{chat, items}`).

use std::{
    borrow::Cow,
    collections::{HashMap, hash_map::Entry},
};

use sha2::{Digest, Sha256};

use crate::{
    id::hex,
    wire::{
        json::{Value, shorten, write},
        reject::Reject,
    },
};

/// The longest id of a call that the upstream takes.
const MAX_ID: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    Function,
    Custom,
}

#[derive(Debug, Default)]
pub struct Calls<'a> {
    seen: HashMap<Cow<'a, str>, Call<'a>>,
}

#[derive(Debug)]
struct Call<'a> {
    tool: Tool,
    at: Value<'a>,
    open: bool,
}

impl<'a> Calls<'a> {
    /// A call `id` at `at`, to be answered later.
    pub fn call(&mut self, id: Cow<'a, str>, tool: Tool, at: Value<'a>) {
        let call = Call { tool, at, open: true };
        match self.seen.entry(id) {
            // An id used twice: the earlier call has to be answered too, and is told of first.
            Entry::Occupied(entry) if entry.get().open => {}
            Entry::Occupied(mut entry) => {
                entry.insert(call);
            }
            Entry::Vacant(entry) => {
                entry.insert(call);
            }
        }
    }

    /// An item that may be answered and need not be.
    pub fn optional(&mut self, id: Cow<'a, str>, tool: Tool, at: Value<'a>) {
        self.seen.entry(id).or_insert(Call { tool, at, open: false });
    }

    /// The answer to call `id`, found at `at`. What kind of tool was called.
    ///
    /// # Errors
    ///
    /// When there is no such call before.
    pub fn answer(&mut self, id: &str, at: Value<'a>) -> Result<Tool, Reject> {
        let Some(call) = self.seen.get_mut(id) else {
            let id = shorten(id);
            let message = format!("No tool call found for function call output with call_id {id}.");
            return Err(Reject::invalid(at, message));
        };
        call.open = false;
        Ok(call.tool)
    }

    /// # Errors
    ///
    /// When a call has no answer.
    pub fn finish(&self) -> Result<(), Reject> {
        let open = self.seen.iter().filter(|(_, call)| call.open);
        match open.min_by_key(|(_, call)| call.at.place()) {
            None => Ok(()),
            Some((id, call)) => {
                let kind = match call.tool {
                    Tool::Function => "function",
                    Tool::Custom => "custom tool",
                };
                let message = format!("No tool output found for {kind} call {}.", shorten(id));
                Err(Reject::invalid(call.at, message))
            }
        }
    }
}

/// Writes the id of a call. Ids only join calls and answers, so one that is too long for the
/// upstream is replaced by a shorter one, the same each time.
pub fn write_id(out: &mut Vec<u8>, id: &str) {
    if id.len() <= MAX_ID {
        return write::string(out, id);
    }
    let digest = Sha256::digest(id.as_bytes());
    let short = format!("call_{}", hex(digest.get(..16).unwrap_or_default()));
    write::string(out, &short);
}
