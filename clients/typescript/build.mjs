// Builds dist/v1.js (one file, no imports), dist/react.js (the hooks, importing it and React) and dist/types.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const options = {
  absWorkingDir: here,
  bundle: true,
  format: "esm",
  platform: "neutral",
  target: "es2022",
  minify: true,
  banner: { js: "/*! Fanfare client v1, Apache-2.0 */" },
  logLevel: "warning",
  write: false,
};
// The hooks use the one client that the page has, not one of their own.
const client = {
  name: "client",
  setup: ({ onResolve }) => onResolve({ filter: /\/index\.js$/ }, () => ({ path: "./v1.js", external: true })),
};
const sizes = [];
for (const more of [
  { entryPoints: ["src/index.ts"], outfile: "dist/v1.js" },
  { entryPoints: ["src/react.ts"], outfile: "dist/react.js", external: ["react"], plugins: [client] },
]) {
  const { outputFiles: [file] } = await build({ ...options, ...more });
  sizes.push(`${more.outfile} ${(gzipSync(file.contents).length / 1024).toFixed(1)} KiB`);
  // The gateway embeds the client, and is compiled anew for every write.
  if (same(file)) continue;
  mkdirSync(dirname(file.path), { recursive: true });
  writeFileSync(file.path, file.contents);
}
const typescript = dirname(createRequire(import.meta.url).resolve("typescript/package.json"));
execFileSync(process.execPath, [join(typescript, "bin", "tsc"), "--project", "tsconfig.types.json"], {
  cwd: here,
  stdio: "inherit",
});
// The last line, shown by `cargo xtask sdk`; `test/package.test.ts` holds the first to its budget.
console.log(`${sizes.join(", ")} compressed`);

function same({ path, contents }) {
  try {
    return readFileSync(path).equals(contents);
  } catch {
    return false;
  }
}
