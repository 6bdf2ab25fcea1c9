import { drive, type Measured, median, send } from "./load.ts";
import { cpuMicros } from "./process.ts";
import type { Row } from "./report.ts";

const CONNECTIONS = 64;
const ROUNDS = 5;
const ROUND_MS = 3_000;

/** A GET that a process answers. */
export interface Target {
  pid: number;
  url: string;
  headers: Record<string, string>;
  status: number;
  /** For each connection another request, so that not all of them read the same row. */
  each?: readonly { url: string; headers: Record<string, string> }[];
}

/** Ours and the baseline by turns, so that other work of the machine affects both. */
export async function against(what: string, ours: Target, theirs: Target): Promise<Row[]> {
  await round(ours, 1_000);
  await round(theirs, 1_000);
  const rounds: Record<"ours" | "theirs", Measured & { cpuMicros: number }>[] = [];
  for (let n = 0; n < ROUNDS; n++) rounds.push({ ours: await round(ours), theirs: await round(theirs) });
  const row = (name: string, figure: "perSecond" | "p99Ms" | "cpuMicros"): Row => {
    const of = (pick: (one: (typeof rounds)[number]) => number) => median(rounds.map(pick));
    return {
      what: name,
      measured: of((one) => one.ours[figure]),
      baseline: of((one) => one.theirs[figure]),
      ratio: of((one) => one.ours[figure] / one.theirs[figure]),
    };
  };
  return [
    row(`${what}, requests/s`, "perSecond"),
    row("the same, p99 in ms", "p99Ms"),
    row("the same, CPU us a request", "cpuMicros"),
  ];
}

async function round({ pid, url, headers, status, each }: Target, durationMs = ROUND_MS) {
  const before = cpuMicros(pid);
  const measured = await drive(CONNECTIONS, { ms: durationMs }, async (client, agent) => {
    const read = each?.[client % each.length] ?? { url, headers };
    const answer = await send(agent, read.url, { headers: read.headers });
    if (answer.status !== status) throw new Error(`answered ${answer.status}`);
  });
  if (measured.errors > 0) throw new Error(`${url}: ${measured.errors} requests failed`);
  const requests = measured.perSecond * (durationMs / 1000);
  return { ...measured, cpuMicros: (cpuMicros(pid) - before) / requests };
}
