//! What the client calls what the upstream speaks of.
//!
//! The upstream refuses `text.format.name` where a chat client wrote
//! `response_format.json_schema.name`, and counts input items where that client counts messages.
//! A refusal and a disclosure say the client's own name.
//!
//! **Invariant:** what the client did not send has no name here, so that nobody is told of it.

use crate::wire::json::Value;

/// Upstream parameters with what the client sent for each; the first is what refusals mean.
#[derive(Clone, Debug, Default)]
pub struct OwnNames {
    names: Vec<(&'static str, Vec<String>)>,
    list: List,
    origins: Vec<Origin>,
    /// How many items stand before those of the client, and what brought them.
    before: (usize, &'static str),
}

/// Where the items of the upstream's input come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum List {
    /// The whole of `input`, which is no list.
    #[default]
    Whole,
    Input,
    Messages,
}

/// What an item of the upstream's input was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The place in the client's list.
    pub at: usize,
    /// The place among the calls of a message.
    pub call: Option<usize>,
}

impl OwnNames {
    /// Notes that `values` are what the client sent as the upstream's `name`.
    pub fn note<'a>(
        &mut self,
        name: &'static str,
        values: impl IntoIterator<Item = Option<Value<'a>>>,
    ) {
        let mut own: Vec<_> = values.into_iter().flatten().map(Value::path).collect();
        own.dedup();
        self.set(name, own);
    }

    /// Notes that the client says the upstream's `name` in `own`.
    pub fn set(&mut self, name: &'static str, own: Vec<String>) {
        self.names.retain(|(known, _)| *known != name);
        self.names.push((name, own));
    }

    pub fn items_of(&mut self, list: List, origins: Vec<Origin>) {
        (self.list, self.origins) = (list, origins);
    }

    /// How many items are not the client's.
    pub fn n_brought(&self) -> usize {
        self.before.0
    }

    /// The first `n` items are not the client's; its parameter `name` brought them.
    pub fn brought(&mut self, n: usize, name: &'static str) {
        self.before = (n, name);
    }

    /// What the client sent as the upstream's parameter `param`.
    pub fn of(&self, param: &str) -> Vec<String> {
        let known = self.names.iter().find(|(name, _)| *name == param);
        known.map_or_else(|| vec![param.to_owned()], |(_, own)| own.clone())
    }

    /// The client's words for a place in the upstream request, such as `input[3].content[0]`.
    pub fn place(&self, param: &str) -> String {
        if let Some(item) = self.item(param) {
            return item;
        }
        let rest = |name: &str| {
            let rest = param.strip_prefix(name)?;
            (rest.is_empty() || rest.starts_with(['.', '['])).then_some(rest)
        };
        let known = self.names.iter().filter_map(|(name, own)| Some((rest(name)?, own.first()?)));
        match known.min_by_key(|(rest, _)| rest.len()) {
            Some((rest, own)) => format!("{own}{rest}"),
            None => param.to_owned(),
        }
    }

    /// The client's words for item `n` of the upstream's input.
    pub fn of_item(&self, n: usize) -> String {
        let (n_before, brought) = self.before;
        let Some(n) = n.checked_sub(n_before) else { return brought.to_owned() };
        match (self.list, self.origins.get(n)) {
            (List::Whole, _) | (_, None) => "input".to_owned(),
            (List::Input, Some(origin)) => format!("input[{}]", origin.at),
            (List::Messages, Some(Origin { at, call: None })) => format!("messages[{at}]"),
            (List::Messages, Some(Origin { at, call: Some(call) })) => {
                format!("messages[{at}].tool_calls[{call}]")
            }
        }
    }

    fn item(&self, param: &str) -> Option<String> {
        let (n, rest) = param.strip_prefix("input[")?.split_once(']')?;
        let n: usize = n.parse().ok()?;
        let (n_before, brought) = self.before;
        let Some(own) = n.checked_sub(n_before) else { return Some(brought.to_owned()) };
        if self.list == List::Whole || self.origins.get(own).is_none() {
            return None;
        }
        Some(self.of_item(n) + rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_told_in_the_clients_words() {
        let mut own = OwnNames::default();
        own.set("text.format", vec!["response_format".to_owned()]);
        own.set("text", vec!["verbosity".to_owned(), "response_format".to_owned()]);
        own.set("prompt_cache_key", Vec::new());
        let origins = [(0, None), (2, None), (2, Some(0)), (2, Some(1))];
        let origins = origins.map(|(at, call)| Origin { at, call });
        own.items_of(List::Messages, origins.into());
        for (param, expected) in [
            ("text.format.name", "response_format.name"),
            ("text.format", "response_format"),
            ("text.formation", "verbosity.formation"),
            ("texts", "texts"),
            ("prompt_cache_key", "prompt_cache_key"),
            ("input[1].content[0].image_url", "messages[2].content[0].image_url"),
            ("input[3].name", "messages[2].tool_calls[1].name"),
            ("input[4].name", "input[4].name"),
            ("input", "input"),
            ("input[x]", "input[x]"),
        ] {
            assert_eq!(own.place(param), expected);
        }
        assert_eq!(own.of("text"), ["verbosity", "response_format"]);
        assert!(own.of("prompt_cache_key").is_empty());
        assert_eq!(own.of("temperature"), ["temperature"]);
    }
}
