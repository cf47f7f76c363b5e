/** The examples of README.md and docs/sdk.md, run as they stand: only where the client is and which app it is differ. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { transform } from "esbuild";

const root = new URL("../../", import.meta.url);
const page = ["README.md", "../../docs/sdk.md"].map((name) => readFileSync(new URL(name, root), "utf8")).join("\n");
const run = randomUUID().slice(0, 8);
const folder = mkdtempSync(join(tmpdir(), "fanfare-docs-"));
after(() => rmSync(folder, { recursive: true }));

/** Node 20 has no WebSocket. */
const SOCKET = `import { WebSocket } from ${JSON.stringify(import.meta.resolve("ws"))};\nglobalThis.WebSocket ??= WebSocket;\n`;

/** With this platform's addresses, and channels of this run's own: some examples count what is in them. */
function localized(code: string): string {
  return code
    .replaceAll("http://localhost:8000/sdk/v1.js", new URL("dist/v1.js", root).href)
    .replaceAll("docs:", `docs:${run}:`)
    .replaceAll("demo:hello", `demo:${run}:hello`)
    .replaceAll("http://localhost:8000/v1/apps/app_…", process.env["FANFARE_URL"] ?? "");
}

interface Example {
  title: string;
  code: string;
}

/** Blocks of code by the heading above them. */
function examples(language: string): Example[] {
  const found: Example[] = [];
  for (const part of page.split(/^(?=## )/m)) {
    const title = /^## (.*)$/m.exec(part)?.[1] ?? "";
    for (const [, block = ""] of part.matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, "gm"))) {
      found.push({ title, code: block });
    }
  }
  return found;
}

/** What the program prints: all of it, or, where it goes on, so many lines and what comes right after them. */
function execute(file: string, lines: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(process.execPath, [file], { timeout: 20_000 }, (error, stdout, stderr) => {
      if ((error === null || told) && stderr === "") resolve(stdout);
      // Node shows the line of a fault, which in the client's one file is all of it.
      else reject(new Error(`${error?.message ?? ""}\n${stdout}\n${stderr}`.replace(/^.{500,}$/gm, "…")));
    });
    let printed = "";
    let told = false;
    child.stdout?.on("data", (text: string) => {
      printed += text;
      if (told || printed.split("\n").length <= lines) return;
      told = true;
      setTimeout(() => child.kill(), 500);
    });
  });
}

for (const [at, { title, code }] of examples("js").entries()) {
  test(`example ${at + 1} of the documentation: ${title}`, { timeout: 30_000 }, async () => {
    const wanted = [...code.matchAll(/\/\/ → (.*)$/gm)].map((found) => found[1]);
    const file = join(folder, `${at}.mjs`);
    writeFileSync(file, SOCKET + localized(code));
    const printed = (await execute(file, wanted.length)).trimEnd().split("\n").map((line) => line.trimEnd());
    assert.deepEqual(printed.sort(), wanted.sort());
  });
}

/** Renders the example's `App` as a page does, presses its button, and prints what the list then shows. */
const RENDER = `
import { Window } from "happy-dom";
import { createElement, StrictMode } from "react";
import { createRoot } from "react-dom/client";
const window = new Window();
Object.assign(globalThis, { window, document: window.document });
const screen = window.document.createElement("div");
window.document.body.append(screen);
const root = createRoot(screen);
root.render(createElement(StrictMode, null, createElement(App)));
const until = async (holds) => {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 10));
};
await until(() => screen.querySelector("button")?.disabled === false);
screen.querySelector("button").click();
await until(() => screen.querySelectorAll("li").length > 0);
console.log(screen.querySelector("p").textContent, [...screen.querySelectorAll("li")].map((item) => item.textContent).join());
root.unmount();
`;

for (const { title, code } of examples("jsx")) {
  test(`an example of the documentation in a page: ${title}`, { timeout: 30_000 }, async (context) => {
    const compiled = await transform(localized(code), { loader: "jsx", jsx: "automatic" });
    // In the package, where its own name and React are found.
    const file = fileURLToPath(new URL(`build/docs-${run}.mjs`, root));
    context.after(() => rmSync(file));
    writeFileSync(file, SOCKET + compiled.code + RENDER);
    assert.equal((await execute(file, 1)).trim(), "connected hi");
  });
}

test("the documentation has examples", () => {
  assert.ok(examples("js").length >= 7);
  assert.equal(examples("jsx").length, 1);
});
