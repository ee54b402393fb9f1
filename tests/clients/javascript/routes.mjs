// The two big routes behind one small face, so that a test is written once and run on both.

import assert from "node:assert/strict";

import { MODEL, all } from "./harness.mjs";

/** `text`, and `calls` as [id, name, arguments]. */
const read = {
  chat({ choices: [{ message }] }) {
    const calls = (message.tool_calls ?? []).map((call) => [call.id, call.function.name, call.function.arguments]);
    return { text: message.content ?? "", calls, items: [message], parsed: message.parsed };
  },
  responses({ status, output, output_text, output_parsed }) {
    assert.equal(status, "completed");
    const calls = output
      .filter((item) => item.type === "function_call")
      .map((item) => [item.call_id, item.name, item.arguments]);
    return { text: output_text, calls, items: output, parsed: output_parsed };
  },
};

export const ROUTES = {
  chat: (client) => ({
    create: (history, how = {}) =>
      client.chat.completions.create({ model: MODEL, messages: history, ...how }),
    async plain(history, how) {
      return read.chat(await this.create(history, how));
    },
    async raw(history, how) {
      const asked = { stream: true, stream_options: { include_usage: true }, ...how };
      const chunks = await all(this.create(history, asked));
      const choices = chunks.flatMap((chunk) => chunk.choices);
      assert.ok(choices.at(-1).finish_reason, "the last choice is finished");
      assert.ok(chunks.at(-1).usage.total_tokens > 0, "the last chunk counts tokens");
      return { text: choices.map(({ delta }) => delta.content ?? "").join("") };
    },
    async helper(history, how) {
      const stream = client.chat.completions.stream({ model: MODEL, messages: history, ...how });
      return read.chat(await stream.finalChatCompletion());
    },
    tool: (name, parameters) => ({ type: "function", function: { name, parameters } }),
    result: (id, content) => ({ role: "tool", tool_call_id: id, content }),
    image: (text, url) => [{ type: "text", text }, { type: "image_url", image_url: { url } }],
  }),

  responses: (client) => ({
    create: (history, how = {}) => client.responses.create({ model: MODEL, input: history, ...how }),
    async plain(history, how) {
      return read.responses(await this.create(history, how));
    },
    async raw(history, how) {
      const events = await all(this.create(history, { stream: true, ...how }));
      assert.equal(events[0].type, "response.created");
      assert.equal(events.at(-1).type, "response.completed");
      const { output } = events.at(-1).response;
      const parts = output.flatMap((item) => item.content ?? []);
      return { text: parts.map((part) => part.text ?? "").join("") };
    },
    async helper(history, how) {
      const stream = client.responses.stream({ model: MODEL, input: history, ...how });
      return read.responses(await stream.finalResponse());
    },
    tool: (name, parameters) => ({ type: "function", name, parameters, strict: false }),
    result: (id, output) => ({ type: "function_call_output", call_id: id, output }),
    image: (text, url) => [
      { type: "input_text", text },
      { type: "input_image", image_url: url, detail: "auto" },
    ],
  }),
};

export const user = (content) => ({ role: "user", content });

/** Runs `body(name, open)` for both routes; `open(client)` gives the route. */
export const everyRoute = (body) => Object.entries(ROUTES).forEach(([name, open]) => body(name, open));
