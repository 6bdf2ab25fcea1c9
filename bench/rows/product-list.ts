import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { Agent } from "node:http";
import { join } from "node:path";
import { drive, type Measured, median, send } from "../lib/load.ts";
import type { RunningPlatform } from "../lib/platform.ts";
import { cpuMicros } from "../lib/process.ts";
import type { Row } from "../lib/report.ts";
import type { World } from "../lib/world.ts";

const CONNECTIONS = 64;
const ROUNDS = 5;
const ROUND_MS = 3_000;

/** The front page of `GET /products`, 20 offers, with a token against node:http that sends the same bytes from memory. */
export async function productList(platform: RunningPlatform, world: World): Promise<Row[]> {
  const url = `${platform.apiUrl}/products`;
  const headers = { authorization: `Bearer ${world.customerTokens[0]}` };
  const bytes = await pageBytes(url, headers);
  const file = join(platform.dataDir, "bench-page.json");
  writeFileSync(file, bytes);
  const baseline = spawn(process.execPath, [join(import.meta.dirname, "../lib/baseline-server.ts"), file], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [port] = (await once(baseline.stdout, "data")) as [Buffer];
  const baselineUrl = `http://127.0.0.1:${port.toString().trim()}/`;

  const ours = { pid: platform.pid, url, headers };
  const theirs = { pid: baseline.pid as number, url: baselineUrl, headers };
  await round(ours, 1_000);
  await round(theirs, 1_000);
  const rounds: Record<"ours" | "theirs", Measured & { cpuMicros: number }>[] = [];
  for (let n = 0; n < ROUNDS; n++) rounds.push({ ours: await round(ours), theirs: await round(theirs) });
  baseline.kill();

  const of = (pick: (one: (typeof rounds)[number]) => number) => median(rounds.map(pick));
  return [
    {
      what: `GET /products (${(bytes.length / 1024).toFixed(1)} KB), requests/s`,
      measured: of(({ ours }) => ours.perSecond),
      baseline: of(({ theirs }) => theirs.perSecond),
      ratio: of(({ ours, theirs }) => ours.perSecond / theirs.perSecond),
    },
    {
      what: "the same, p99 in ms",
      measured: of(({ ours }) => ours.p99Ms),
      baseline: of(({ theirs }) => theirs.p99Ms),
      ratio: of(({ ours, theirs }) => ours.p99Ms / theirs.p99Ms),
    },
    {
      what: "the same, CPU us a request",
      measured: of(({ ours }) => ours.cpuMicros),
      baseline: of(({ theirs }) => theirs.cpuMicros),
      ratio: of(({ ours, theirs }) => ours.cpuMicros / theirs.cpuMicros),
    },
  ];
}

interface Target {
  pid: number;
  url: string;
  headers: Record<string, string>;
}

async function round({ pid, url, headers }: Target, durationMs = ROUND_MS) {
  const before = cpuMicros(pid);
  const measured = await drive(CONNECTIONS, durationMs, async (_client, agent) => {
    const { status } = await send(agent, url, { headers });
    if (status !== 200) throw new Error(`answered ${status}`);
  });
  if (measured.errors > 0) throw new Error(`${url}: ${measured.errors} requests failed`);
  const requests = measured.perSecond * (durationMs / 1000);
  return { ...measured, cpuMicros: (cpuMicros(pid) - before) / requests };
}

async function pageBytes(url: string, headers: Record<string, string>): Promise<Buffer> {
  const agent = new Agent();
  const { status, body } = await send(agent, url, { headers });
  if (status !== 200) throw new Error(`${url}: ${status} ${body}`);
  return body;
}
