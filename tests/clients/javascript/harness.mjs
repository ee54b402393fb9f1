// Starts the relay for a test and reads what its simulator received; harness.py is its twin.
//
// Every test gets a relay of its own, below a temporary directory and with none of the caller's
// environment but PATH. Every wait has a deadline.
//
// Not here: judging bodies by the published schemas; the Python tests do that for the same relay.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import OpenAI from "openai";

export const MODEL = "gpt-5.5";
export const GREETING = "Hello from the simulator. You said: ";
export const TOKEN = "client-tests-relay-token";
const ROOT = new URL("../../..", import.meta.url).pathname;
const BINARY =
  process.env.AIRELAYS_BIN ?? join(process.env.CARGO_TARGET_DIR ?? join(ROOT, "target"), "debug/airelays");

const ACCEPTED = new Set([
  "model", "instructions", "input", "tools", "tool_choice", "parallel_tool_calls", "reasoning",
  "store", "stream", "include", "service_tier", "prompt_cache_key", "text", "client_metadata",
  "max_output_tokens",
]);

/** The first answer of `probe` that is true. */
export async function waitFor(what, probe, milliseconds = 20_000) {
  const deadline = Date.now() + milliseconds;
  for (;;) {
    const answer = await probe();
    if (answer) return answer;
    assert.ok(Date.now() < deadline, `${what}: not within ${milliseconds} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** What is wrong with one inference request that went upstream. */
function complaints({ headers, body }) {
  const ids = (kind) => body.input.filter((item) => item.type === kind).map((item) => item.call_id).sort();
  const rules = [
    [body.store !== false, "store is not false"],
    [body.stream !== true, "stream is not true"],
    [!headers["session-id"], "no session-id header"],
    [JSON.stringify([headers, body]).includes(TOKEN), "the relay token went upstream"],
    [body.input.some((item) => item.role === "system"), "a system message"],
    ...Object.keys(body).map((key) => [!ACCEPTED.has(key), `field ${key}`]),
    ...Object.keys(headers).map((key) => [/^(x-stainless|openai-)/.test(key), `header ${key}`]),
    [ids("function_call").join() !== ids("function_call_output").join(), "a call without its output"],
  ];
  return rules.filter(([broken]) => broken).map(([, what]) => what);
}

class Simulator {
  constructor(url) {
    this.url = url;
  }

  async inference() {
    return this.posts("/responses");
  }

  async posts(end) {
    const records = await (await fetch(`${this.url}/sim/requests`)).json();
    return records
      .filter(({ method, path }) => method === "POST" && path.endsWith(end))
      .map((record) => ({
        ...record,
        headers: Object.fromEntries(record.headers.map(([name, value]) => [name.toLowerCase(), value])),
        body: typeof record.body === "string" ? JSON.parse(record.body) : record.body,
      }));
  }

  async cancelled() {
    return waitFor("the upstream sees the cancellation", async () =>
      (await this.inference()).find((sent) => sent.cancelled),
    );
  }

  async script(...steps) {
    const headers = { "content-type": "application/json" };
    const answer = await fetch(`${this.url}/sim/script`, { method: "POST", headers, body: JSON.stringify(steps) });
    assert.ok(answer.ok, await answer.text());
  }
}

/** A test body with a relay of its own: `withRelay(async ({ client, sim, connect }) => ..)`. */
export function withRelay(body, more = []) {
  return async () => {
    const home = await mkdtemp(join(tmpdir(), "airelays-js-"));
    // The system chooses the ports, and the relay says which they are.
    const args = ["serve", "--simulate", "--simulator-port", "0", "--port", "0", ...more];
    const env = {
      PATH: process.env.PATH,
      HOME: home,
      AIRELAYS_DATA_DIR: join(home, "data"),
      AIRELAYS_CONFIG: join(home, "config.toml"),
      AIRELAYS_BEARER_TOKEN: TOKEN,
    };
    const relay = spawn(BINARY, args, { cwd: home, env, stdio: ["ignore", "pipe", "pipe"] });
    const said = [];
    relay.stdout.on("data", (text) => said.push(text));
    relay.stderr.on("data", (text) => said.push(text));
    const gone = new Promise((resolve, reject) => relay.on("exit", resolve).on("error", reject));
    const output = () => Buffer.concat(said).toString();
    try {
      const [port, inside] = await waitFor("the relay is ready", () => {
        assert.equal(relay.exitCode, null, `the relay ended:\n${output()}`);
        const said = [/Port: +(\d+)/, /Address: +(http:\S+)\n/].map((line) => line.exec(output())?.[1]);
        return said.every(Boolean) && said;
      });
      const sim = new Simulator(inside);
      const connect = (how = {}) =>
        new OpenAI({ baseURL: `http://127.0.0.1:${port}/v1`, apiKey: TOKEN, maxRetries: 0, timeout: 20_000, ...how });
      await body({ client: connect(), connect, sim });
      for (const sent of await sim.inference()) assert.deepEqual(complaints(sent), [], JSON.stringify(sent));
    } finally {
      relay.kill("SIGTERM");
      const killed = setTimeout(() => relay.kill("SIGKILL"), 10_000);
      await gone;
      clearTimeout(killed);
      await rm(home, { recursive: true, force: true });
    }
    assert.equal(relay.exitCode, 0, `did not stop in order when asked to:\n${output()}`);
    assert.doesNotMatch(output(), /panicked at/);
  };
}

/** The error that `call` ends with. */
export async function failure(call) {
  try {
    await call();
  } catch (error) {
    return error;
  }
  assert.fail("no error");
}

/** Everything that a stream yields. */
export async function all(stream) {
  const found = [];
  for await (const each of await stream) found.push(each);
  return found;
}
