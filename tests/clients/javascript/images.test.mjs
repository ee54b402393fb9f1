// Pictures through the JavaScript SDK: whole, as events, and from files.

import assert from "node:assert/strict";
import { test } from "node:test";

import { toFile } from "openai";

import { all, failure, withRelay } from "./harness.mjs";

const PIXEL = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
  "base64",
);
const URL = `data:image/png;base64,${PIXEL.toString("base64")}`;

const isPng = (data) => Buffer.from(data, "base64").subarray(1, 4).toString() === "PNG";

test("pictures are made from words", withRelay(async ({ client, sim }) => {
  const { data, usage } = await client.images.generate({ prompt: "a red fox", n: 2, model: "gpt-image-2" });
  assert.deepEqual(data.map(({ b64_json }) => isPng(b64_json)), [true, true]);
  assert.equal(usage.total_tokens, 2 * 199);
  assert.equal((await sim.posts("/images/generations")).length, 2);
}));

test("a stream has one event for each picture", withRelay(async ({ client }) => {
  const events = await all(client.images.generate({ prompt: "a", n: 2, model: "gpt-image-2", stream: true }));
  assert.deepEqual(events.map(({ type }) => type), ["image_generation.completed", "image_generation.completed"]);
  assert.ok(events.every(({ b64_json }) => isPng(b64_json)));
}));

test("files are edited", withRelay(async ({ client, sim }) => {
  const file = () => toFile(PIXEL, "a.png", { type: "image/png" });
  for (const image of [await file(), [await file(), await file()]]) {
    const { data } = await client.images.edit({ image, prompt: "pêche", model: "gpt-image-2" });
    assert.ok(isPng(data[0].b64_json));
    const { body } = (await sim.posts("/images/edits")).at(-1);
    assert.deepEqual(body.images, [image].flat().map(() => ({ image_url: URL })));
    assert.equal(body.prompt, "pêche");
  }
}));

test("a refusal is the SDK's error", withRelay(async ({ client }) => {
  const refused = await failure(() => client.images.generate({ prompt: "a", model: "gpt-5.5" }));
  assert.deepEqual([refused.status, refused.code, refused.param], [404, "model_not_found", "model"]);
}));
