// Failures reach the JavaScript SDK as the right error, and never as an answer that looks whole.

import assert from "node:assert/strict";
import { test } from "node:test";

import OpenAI from "openai";

import { MODEL, all, failure, withRelay } from "./harness.mjs";
import { everyRoute, user } from "./routes.mjs";

const BEFORE = [
  ["limit", OpenAI.RateLimitError, [429]],
  ["error: usage_limit_reached", OpenAI.RateLimitError, [429]],
  ["overloaded", OpenAI.InternalServerError, [502, 503]],
  ["failed: server_error", OpenAI.InternalServerError, [500, 502]],
  ["error: context_length_exceeded", OpenAI.BadRequestError, [400]],
  ["cloudflare", OpenAI.InternalServerError, [502, 503]],
  ["cut", OpenAI.InternalServerError, [502]],
];
const AFTER = ["cut-after-text", "fail-after-text: server_error", "error-after-text: server_error"];
const TOLD = 'Say "hello". ';

everyRoute((name, open) => {
  for (const [marker, kind, statuses] of BEFORE) {
    test(`${name}: ${marker} before the answer is an error`, withRelay(async ({ client }) => {
      for (const how of [{}, { stream: true }]) {
        const error = await failure(() => open(client).create([user(`${TOLD}[sim ${marker}]`)], how));
        assert.ok(error instanceof kind, `${error}`);
        assert.ok(statuses.includes(error.status), `${error.status}`);
        assert.ok(error.requestID, "it carries the request id");
        if (error.status === 429) assert.ok(Number(error.headers.get("retry-after")) > 0);
      }
    }));
  }

  for (const marker of AFTER) {
    test(`${name}: ${marker} is no clean end`, withRelay(async ({ client }) => {
      const history = [user(`${TOLD}[sim ${marker}]`)];
      for (const way of ["raw", "helper"]) assert.ok(await failure(() => open(client)[way](history)));
    }));
  }

  test(`${name}: leaving a stream stops the upstream`, withRelay(async ({ client, sim }) => {
    const stream = await open(client).create([user(`${TOLD.repeat(20)}[sim slow: 150]`)], { stream: true });
    let seen = 0;
    for await (const each of stream) {
      assert.ok(each);
      if ((seen += 1) === 4) break;
    }
    assert.ok(await sim.cancelled());
  }));

  test(`${name}: aborting a plain request stops the upstream`, withRelay(async ({ connect, sim }) => {
    const began = Date.now();
    const error = await failure(() => open(connect({ timeout: 600 })).plain([user("[sim stall]")]));
    assert.ok(error instanceof OpenAI.APIConnectionTimeoutError, `${error}`);
    assert.ok(Date.now() - began < 5000);
    assert.ok(await sim.cancelled());
  }));
});

test("what is refused here never reaches the upstream", withRelay(async ({ client, connect, sim }) => {
  const messages = [user("Hi.")];
  const refused = [
    [() => client.responses.create({ model: MODEL, input: "Hi.", store: true }), OpenAI.UnprocessableEntityError],
    [() => client.chat.completions.create({ model: MODEL, messages, store: true }), OpenAI.UnprocessableEntityError],
    [() => client.models.retrieve("no-such-model"), OpenAI.NotFoundError],
    [() => client.embeddings.create({ model: MODEL, input: "x" }), OpenAI.InternalServerError],
    [() => connect({ apiKey: "wrong" }).models.list(), OpenAI.AuthenticationError],
  ];
  for (const [call, kind] of refused) {
    const error = await failure(call);
    assert.ok(error instanceof kind, `${error}`);
    assert.ok(error.requestID);
    assert.ok(error.code && error.type);
  }
  assert.deepEqual(await sim.inference(), []);
}));

test("a retry of the client finds a recovered upstream", withRelay(async ({ connect, sim }) => {
  await sim.script("status: 500", "status: 500", "status: 500", "status: 500", "say: recovered");
  const client = connect({ maxRetries: 5 });
  const answer = await client.responses.create({ model: MODEL, input: "Hi." });
  assert.equal(answer.output_text, "recovered");
}));

test("an aborted helper ends as aborted", withRelay(async ({ client, sim }) => {
  const stream = client.chat.completions.stream({ model: MODEL, messages: [user(`${TOLD.repeat(20)}[sim slow: 150]`)] });
  stream.on("content", () => stream.abort());
  const error = await failure(() => all(stream));
  assert.ok(error instanceof OpenAI.APIUserAbortError, `${error}`);
  assert.ok(await sim.cancelled());
}));
