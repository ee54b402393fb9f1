// The JavaScript examples of the documents, run as they stand.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile, readdir, rm, writeFile } from "node:fs/promises";
import { test } from "node:test";
import { promisify } from "node:util";

import { TOKEN, withRelay } from "./harness.mjs";

const ROOT = new URL("../../../", import.meta.url);
const docs = (await readdir(new URL("docs/", ROOT))).filter((name) => name.endsWith(".md"));
let found = 0;

for (const page of ["README.md", ...docs.map((name) => `docs/${name}`)]) {
  const text = await readFile(new URL(page, ROOT), "utf8");
  for (const [, code] of text.matchAll(/^```js\n(.*?)^```$/gms)) {
    found += 1;
    test(`${page}, example ${found}`, withRelay(async ({ client }) => {
      // Beside the tests, where it finds the SDK.
      const file = new URL(`.example-${process.pid}-${found}.mjs`, import.meta.url);
      await writeFile(file, code);
      try {
        const env = { PATH: process.env.PATH, OPENAI_BASE_URL: client.baseURL, OPENAI_API_KEY: TOKEN };
        const { stdout } = await promisify(execFile)(process.execPath, [file.pathname], { env, timeout: 60_000 });
        assert.ok(stdout.trim());
      } finally {
        await rm(file);
      }
    }));
  }
}
assert.ok(found > 0, "the documents have no example");
