//! Tokens counted: the upstream's names on one side, chat's names on the other.

use serde::{Deserialize, Serialize};

/// Token counts as the upstream reports them. Details may be absent or null.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct TokenUsage {
    #[serde(default)]
    input_tokens: u64,
    #[serde(default)]
    output_tokens: u64,
    #[serde(default)]
    total_tokens: Option<u64>,
    #[serde(default)]
    input_tokens_details: Option<InputDetails>,
    #[serde(default)]
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
struct InputDetails {
    #[serde(default)]
    cached_tokens: Option<u64>,
    #[serde(default)]
    cache_write_tokens: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
struct OutputDetails {
    #[serde(default)]
    reasoning_tokens: Option<u64>,
}

/// `CompletionUsage` of the published document.
#[derive(Debug, Serialize)]
struct Chat {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: ChatPrompt,
    completion_tokens_details: ChatCompletion,
}

#[derive(Debug, Serialize)]
struct ChatPrompt {
    cached_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_write_tokens: Option<u64>,
}

#[derive(Debug, Serialize)]
struct ChatCompletion {
    reasoning_tokens: u64,
}

impl TokenUsage {
    /// Tokens of the input, those of them that were cached, and of the output.
    pub fn counts(&self) -> (u64, u64, u64) {
        let cached = self.input_tokens_details.and_then(|details| details.cached_tokens);
        (self.input_tokens, cached.unwrap_or_default(), self.output_tokens)
    }

    /// Reads a raw `usage` value; `None` when it is null or not understood.
    pub fn read(raw: &str) -> Option<Self> {
        serde_json::from_str::<Option<Self>>(raw).ok().flatten()
    }

    /// Appends the counts under chat's names.
    pub fn write_chat(&self, out: &mut Vec<u8>) {
        let input = self.input_tokens_details.unwrap_or_default();
        let output = self.output_tokens_details.unwrap_or_default();
        let chat = Chat {
            prompt_tokens: self.input_tokens,
            completion_tokens: self.output_tokens,
            total_tokens: self
                .total_tokens
                .unwrap_or_else(|| self.input_tokens.saturating_add(self.output_tokens)),
            prompt_tokens_details: ChatPrompt {
                cached_tokens: input.cached_tokens.unwrap_or(0),
                cache_write_tokens: input.cache_write_tokens,
            },
            completion_tokens_details: ChatCompletion {
                reasoning_tokens: output.reasoning_tokens.unwrap_or(0),
            },
        };
        // Numbers into memory: neither half can fail.
        if let Ok(text) = serde_json::to_string(&chat) {
            out.extend_from_slice(text.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(raw: &str, expected: &Expect) {
        let mut out = Vec::new();
        match TokenUsage::read(raw) {
            Some(usage) => usage.write_chat(&mut out),
            None => out.extend_from_slice(b"none"),
        }
        expected.assert_eq(&String::from_utf8(out).expect("UTF-8"));
    }

    #[test]
    fn counts_keep_their_place() {
        check(
            r#"{"input_tokens":7908,"input_tokens_details":{"cached_tokens":7808,"cache_write_tokens":9},"output_tokens":79,"output_tokens_details":{"reasoning_tokens":13},"total_tokens":7987}"#,
            &expect![[
                r#"{"prompt_tokens":7908,"completion_tokens":79,"total_tokens":7987,"prompt_tokens_details":{"cached_tokens":7808,"cache_write_tokens":9},"completion_tokens_details":{"reasoning_tokens":13}}"#
            ]],
        );
        check(
            r#"{"input_tokens":1,"input_tokens_details":null,"output_tokens":2,"output_tokens_details":null}"#,
            &expect![[
                r#"{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}"#
            ]],
        );
        check("null", &expect!["none"]);
        check(r#"{"input_tokens":"many"}"#, &expect!["none"]);
    }
}
