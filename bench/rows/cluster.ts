import type { Agent } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { type Cluster, startCluster } from "../lib/cluster.ts";
import { BenchDatabase } from "../lib/database.ts";
import { drive } from "../lib/load.ts";
import { type Peers, startPeers } from "../lib/peers.ts";
import { newDataDir, removeDataDir } from "../lib/platform.ts";
import { cpuMicros, residentMegabytes } from "../lib/process.ts";
import type { Row } from "../lib/report.ts";
import { makeWorld } from "../lib/world.ts";
import { oneLife } from "./order-life.ts";

const CLIENTS = 8;
const SIZES = { partners: 10, products: 4, customers: CLIENTS };
const WARM_UP_LIVES = 300;
const LIVES = 300;
const IDLE_MS = 10_000;

/** CPU time of an order life in a cluster with two gateways and two Orders, against one of each; memory of its processes. */
export async function clusterOfTwo(): Promise<Row[]> {
  const [one, two] = [await inCluster(1), await inCluster(2)];
  return [
    {
      what: "order life, CPU us, two gateways and Orders",
      measured: two.cpu,
      baseline: one.cpu,
      ratio: two.cpu / one.cpu,
    },
    { what: "the same, lives that failed", measured: two.errors, baseline: one.errors },
    ...one.memory,
  ];
}

async function inCluster(replicas: number) {
  const dataDir = newDataDir();
  const peers = await startPeers();
  try {
    const cluster = await startCluster(dataDir, peers, replicas);
    try {
      return await measure(cluster, peers);
    } finally {
      await cluster.stop();
    }
  } finally {
    peers.stop();
    removeDataDir(dataDir);
  }
}

async function measure({ members, admin, dataDir, natsPid }: Cluster, peers: Peers) {
  await delay(IDLE_MS);
  const memory = members.map(({ services, pid }) => ({
    what: `idle memory of a process of ${services}, MB`,
    measured: residentMegabytes(pid),
  }));
  const gateways = members.filter(({ services }) => services === "api");
  const apiUrl = gateways[0]?.apiUrl ?? "";
  const database = new BenchDatabase(dataDir);
  try {
    const world = await makeWorld({ apiUrl, admin }, peers, SIZES);
    const life = (client: number, agent: Agent) =>
      oneLife({ apiUrl: gateways[client % gateways.length]?.apiUrl ?? "" }, world, client, agent);
    await drive(CLIENTS, { units: WARM_UP_LIVES }, life);
    await database.drained();
    const used = () =>
      members.reduce((sum, { pid }) => sum + cpuMicros(pid), cpuMicros(natsPid) + database.cpuMicros());
    const before = used();
    const { errors } = await drive(CLIENTS, { units: LIVES }, life);
    await database.drained();
    return { cpu: (used() - before) / (LIVES - errors), errors, memory };
  } finally {
    await database.close();
  }
}
