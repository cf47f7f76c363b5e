import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { gzipSync } from "node:zlib";

const root = new URL("../../", import.meta.url);
const read = (path: string) => readFileSync(new URL(path, root), "utf8");

test("the one file has no imports, is at most 12 KB compressed and exports the client", async () => {
  const file = read("dist/v1.js");
  assert.doesNotMatch(file, /(^|[;}])\s*import\b|\bimport\(/m);
  const size = gzipSync(file).length;
  assert.ok(size <= 12 * 1024, `${size} bytes`);
  const built = await import(new URL("dist/v1.js", root).href);
  assert.deepEqual(Object.keys(built).sort(), ["Fanfare", "FanfareError"]);
});

test("the hooks import React and the one client, carry no second one, and are small", () => {
  const file = read("dist/react.js");
  const imports = [...file.matchAll(/\bfrom\s*"([^"]+)"/g)].map((found) => found[1]);
  assert.deepEqual([...new Set(imports)].sort(), ["./v1.js", "react"]);
  const size = gzipSync(file).length;
  assert.ok(size <= 3 * 1024, `${size} bytes`);
});

test("there are no dependencies at run time, and the lock names no registry", () => {
  assert.equal(JSON.parse(read("package.json")).dependencies, undefined);
  assert.doesNotMatch(read("package-lock.json"), /"resolved"/);
});

test("every code of a socket that the types name is in the server's table", () => {
  const table = readFileSync(new URL("../../server/core/src/codes.rs", root), "utf8");
  const slugs = new Set([...table.matchAll(/= \d{4}, "(\w+)"/g)].map((found) => found[1]));
  assert.ok(slugs.size > 30, "the table was read");
  const source = read("src/errors.ts");
  const named = source.slice(source.indexOf("ServerErrorCode ="), source.indexOf(";", source.indexOf("ServerErrorCode =")));
  const unknown = [...named.matchAll(/"(\w+)"/g)].map((found) => found[1]).filter((slug) => !slugs.has(slug));
  assert.deepEqual(unknown, []);
});
