/** The published types, as a strict program of somebody else's sees them. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "node:test";

const root = fileURLToPath(new URL("../../", import.meta.url));

const PROGRAM = `
import { Fanfare, FanfareError, type Gap, type JoinLeave, type Message, type Occupancy, type Published } from "@fanfare/client";
import type { State } from "@fanfare/client";
import { FanfareProvider, useMessages, usePresence, useSubscription } from "@fanfare/client/react";

const ff: Fanfare = new Fanfare("https://live.example/v1/apps/app_1", { token: async () => "t", queueMax: 10 });
const state: State = ff.state;
const off: () => void = ff.on("state", ({ reason }) => reason?.code);
ff.on("notice", (notice) => notice.kind.length);
ff.on("joinLeave", ({ joined, complete }: JoinLeave) => complete && joined[0]?.user?.length);
ff.on("occupancy", ({ subscribers, members }: Occupancy) => subscribers + members);
const room = ff.channel("room:9");
interface Greeting { text: string }
void room.subscribe<Greeting>((message: Message<Greeting>) => message.data.text, {
  rewind: { ms: 1 }, token: "t", onGap: (gap: Gap) => gap.reason,
});
const published: Promise<Published> = room.publish("greet", { text: "hi" });
async function past(): Promise<void> {
  for await (const { data } of room.historyMessages<Greeting>({ direction: "forward" })) data.text.length;
  const { members } = await room.presence.get<{ mood: string }>();
  members[0]?.data.mood.length;
  await ff.connect();
  const took: number = await ff.ping();
  took.toFixed();
}
past().catch((error: FanfareError) => error.retryAfterMs);
room.presence.subscribe<{ mood: string }>(({ action, member }) => action === "enter" && member.data.mood);

export function Room(): unknown {
  const { messages, gap } = useMessages<Greeting>("room:9", { max: 10 });
  useSubscription<Greeting>("room:9", (message) => message.data.text);
  const { members } = usePresence("room:9", { enter: true, data: { mood: "up" } });
  return [messages[0]?.data.text, gap?.from, members.length, FanfareProvider, state, off, published];
}

// @ts-expect-error a publish has data
void room.publish({ name: "greet" });
// @ts-expect-error there is no such event
ff.on("weather", () => {});
// @ts-expect-error tests alone hold the clock
new Fanfare("", { clock: undefined });
`;

test("a strict program compiles against the types, and wrong ones do not", (context) => {
  const folder = mkdtempSync(join(tmpdir(), "fanfare-types-"));
  context.after(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, "node_modules/@fanfare"), { recursive: true });
  symlinkSync(root, join(folder, "node_modules/@fanfare/client"));
  const options = { strict: true, exactOptionalPropertyTypes: true, noEmit: true, module: "NodeNext", target: "ES2022" };
  const compilerOptions = { ...options, lib: ["ES2022", "DOM"], types: [], skipLibCheck: false };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["program.ts"] }));
  writeFileSync(join(folder, "package.json"), '{"type":"module"}');
  writeFileSync(join(folder, "program.ts"), PROGRAM);
  const typescript = dirname(createRequire(import.meta.url).resolve("typescript/package.json"));
  try {
    execFileSync(process.execPath, [join(typescript, "bin", "tsc"), "--project", folder], { encoding: "utf8" });
  } catch (failure) {
    throw new Error((failure as { stdout: string }).stdout);
  }
});
