// Files, conversations and kept answers, as the JavaScript SDK uses them.

import assert from "node:assert/strict";
import { test } from "node:test";

import OpenAI, { toFile } from "openai";

import { MODEL, all, failure, waitFor, withRelay } from "./harness.mjs";

const stateful = (body) => withRelay(body, ["--stateful"]);

test("a file comes back as it was, and is read by its id", stateful(async ({ client, sim }) => {
  const content = Buffer.from("the word is heron ".repeat(10_000));
  const file = await client.files.create({ file: await toFile(content, "notes.txt"), purpose: "user_data" });
  assert.equal(file.bytes, content.length);
  const back = Buffer.from(await (await client.files.content(file.id)).arrayBuffer());
  assert.ok(back.equals(content));
  const parts = [{ type: "input_file", file_id: file.id }];
  await client.responses.create({ model: MODEL, input: [{ role: "user", content: parts }] });
  const [sent] = await sim.inference();
  assert.ok(sent.body.input[0].content[0].text.endsWith(content.toString()));
  const more = await client.files.create({ file: await toFile(Buffer.from("x"), "x"), purpose: "batch" });
  assert.deepEqual((await all(client.files.list({ limit: 1 }))).map(({ id }) => id), [more.id, file.id]);
  assert.equal((await client.files.delete(file.id)).deleted, true);
  assert.ok((await failure(() => client.files.retrieve(file.id))) instanceof OpenAI.NotFoundError);
}));

test("a conversation is carried on", stateful(async ({ client, sim }) => {
  const { id } = await client.conversations.create({ metadata: { topic: "birds" } });
  for (const input of ["one", "two"]) await client.responses.create({ model: MODEL, input, conversation: id });
  const items = await all(client.conversations.items.list(id, { order: "asc", limit: 1 }));
  assert.deepEqual(items.map(({ role }) => role), ["user", "assistant", "user", "assistant"]);
  assert.equal((await sim.inference())[1].body.input.length, 3);
  assert.equal((await client.conversations.delete(id)).deleted, true);
}));

test("an answer is kept, gone on from, and made in the background", stateful(async ({ client, sim }) => {
  const first = await client.responses.create({ model: MODEL, input: "one" });
  assert.equal((await client.responses.retrieve(first.id)).output_text, first.output_text);
  await client.responses.create({ model: MODEL, input: "two", previous_response_id: first.id });
  assert.equal((await sim.inference())[1].body.input.length, 3);
  const begun = await client.responses.create({ model: MODEL, input: "three", background: true });
  const ended = await waitFor("the answer", async () => {
    const now = await client.responses.retrieve(begun.id);
    return now.status === "completed" && now;
  });
  assert.ok(ended.output_text);
  const stalled = await client.responses.create({ model: MODEL, input: "[sim stall-after-text]", background: true });
  assert.equal((await client.responses.cancel(stalled.id)).status, "cancelled");
  await client.responses.delete(first.id);
  assert.ok((await failure(() => client.responses.retrieve(first.id))) instanceof OpenAI.NotFoundError);
}));

test("a stream in the background is resumed", stateful(async ({ client }) => {
  const how = { model: MODEL, input: "[sim deltas: 30]", background: true, stream: true };
  const seen = [];
  for await (const event of await client.responses.create(how)) {
    seen.push(event);
    if (seen.length === 7) break;
  }
  const after = seen.at(-1).sequence_number;
  const again = await client.responses.retrieve(seen[0].response.id, { stream: true, starting_after: after });
  for await (const event of again) seen.push(event);
  assert.deepEqual(seen.map(({ sequence_number }) => sequence_number), seen.map((_, at) => at));
  assert.equal(seen.at(-1).type, "response.completed");
}));

test("chats are kept where their client wants it", stateful(async ({ client }) => {
  const messages = [{ role: "user", content: "a" }];
  const kept = await client.chat.completions.create({ model: MODEL, messages, store: true, metadata: { a: "b" } });
  assert.deepEqual((await all(client.chat.completions.list())).map(({ id }) => id), [kept.id]);
  const [message] = await all(client.chat.completions.messages.list(kept.id));
  assert.equal(message.content, "a");
  assert.equal((await client.chat.completions.delete(kept.id)).deleted, true);
}));
