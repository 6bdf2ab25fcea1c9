import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { Client, credentials } from "@grpc/grpc-js";
import type { ServiceBroker } from "moleculer";
import { freePort } from "../../platform/free-port.ts";
import { benchBroker, CALLER, makeCertificates, rawEcho } from "../lib/bridge.ts";
import { drive, type Measured, median } from "../lib/load.ts";
import { cpuMicros } from "../lib/process.ts";
import type { Row } from "../lib/report.ts";

const AT_ONCE = 64;
const ROUNDS = 5;
const ROUND_MS = 2_000;
const MESSAGE = { text: "x".repeat(200), amountMinor: 1_250, words: ["one", "two", "three"] };

/**
 * `ctx.call` to a node in another process, by the bridge, against a unary call of grpc-js with the same message: as on
 * one machine, and with mutual TLS as between machines.
 */
export async function bridgeCalls(): Promise<Row[]> {
  const certificates = makeCertificates();
  try {
    return [...(await callsOver("bridge")), ...(await callsOver("bridge with mutual TLS", certificates))];
  } finally {
    rmSync(certificates, { recursive: true, force: true });
  }
}

async function callsOver(what: string, certificates?: string): Promise<Row[]> {
  const [ownPort, peersPort] = [await freePort(), await freePort()];
  const more = certificates ? [certificates] : [];
  const peer = spawn(
    process.execPath,
    [join(import.meta.dirname, "../lib/bridge-peer.ts"), String(peersPort), String(ownPort), ...more],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const [port] = (await once(peer.stdout, "data")) as [Buffer];
  const broker = benchBroker(CALLER, ownPort, peersPort, certificates);
  await broker.start();
  await broker.waitForServices("bench");
  const client = new Client(`127.0.0.1:${port.toString().trim()}`, credentials.createInsecure());
  const rounds = await measure(peer, broker, client);
  client.close();
  await broker.stop();
  peer.kill();

  const of = (pick: (one: (typeof rounds)[number]) => number) => median(rounds.map(pick));
  const row = (label: string, pick: (one: Round) => number) => ({
    what: label,
    measured: of(({ ours }) => pick(ours)),
    baseline: of(({ theirs }) => pick(theirs)),
    ratio: of(({ ours, theirs }) => pick(ours) / pick(theirs)),
  });
  return [
    row(`${what}: calls/s, 64 at once`, (one) => one.perSecond),
    row(`${what}: p99 in ms`, (one) => one.p99Ms),
    row(`${what}: CPU us a call, both sides`, (one) => one.cpuMicros),
  ];
}

type Round = Measured & { cpuMicros: number };

async function measure(peer: ChildProcess, broker: ServiceBroker, client: Client) {
  const ours = () => broker.call("bench.echo", MESSAGE);
  const { path, requestSerialize, responseDeserialize } = rawEcho();
  const theirs = () =>
    new Promise((resolve, reject) => {
      const deadline = Date.now() + 5_000;
      client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        MESSAGE,
        { deadline },
        (error, answer) => (error ? reject(error) : resolve(answer)),
      );
    });
  const pids = [process.pid, peer.pid as number];
  await round(pids, ours);
  await round(pids, theirs);
  const rounds: Record<"ours" | "theirs", Round>[] = [];
  for (let n = 0; n < ROUNDS; n++) {
    rounds.push({ ours: await round(pids, ours), theirs: await round(pids, theirs) });
  }
  return rounds;
}

async function round(pids: number[], call: () => Promise<unknown>): Promise<Round> {
  const used = () => pids.reduce((sum, pid) => sum + cpuMicros(pid), 0);
  const before = used();
  const measured = await drive(AT_ONCE, { ms: ROUND_MS }, async () => {
    await call();
  });
  if (measured.errors > 0) throw new Error(`${measured.errors} calls failed`);
  return { ...measured, cpuMicros: (used() - before) / (measured.perSecond * (ROUND_MS / 1000)) };
}
