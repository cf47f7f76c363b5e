// Builds dist/v1.js (one file, no imports) and dist/types.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const { outputFiles: [file] } = await build({
  absWorkingDir: here,
  entryPoints: ["src/index.ts"],
  outfile: "dist/v1.js",
  bundle: true,
  format: "esm",
  platform: "neutral",
  target: "es2022",
  minify: true,
  banner: { js: "/*! Fanfare client v1, Apache-2.0 */" },
  logLevel: "warning",
  write: false,
});
// The gateway embeds the file, and is compiled anew for every write.
if (!same(file)) {
  mkdirSync(dirname(file.path), { recursive: true });
  writeFileSync(file.path, file.contents);
}
const typescript = dirname(createRequire(import.meta.url).resolve("typescript/package.json"));
execFileSync(process.execPath, [join(typescript, "bin", "tsc"), "--project", "tsconfig.types.json"], {
  cwd: here,
  stdio: "inherit",
});

function same({ path, contents }) {
  try {
    return readFileSync(path).equals(contents);
  } catch {
    return false;
  }
}
