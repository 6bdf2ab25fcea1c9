import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { type Client, connect } from "../e2e/client.ts";
import {
  admin,
  atCheckout,
  customer,
  invited,
  kitchenWithoutSystem,
  order,
  type Person,
} from "../e2e/world.ts";
import { eventually } from "../support/eventually.ts";
import { type StartedPlatform, startPlatform } from "../support/platform.ts";
import { type Seen, type StreamClient, streamClient } from "../support/stream-client.ts";
import { runFolder } from "../support/test-run.ts";

const PARTNERS = 10;
/** Of each partner there are two, and each user may have ten streams: 200 + 200 + 100. */
const COURIERS = 20;
const OPERATORS = 10;
const STREAMS_EACH = 10;
const ORDERS = 40;
const IDLE_MS = 5_000;
const TIMEOUT_MS = 600_000;
const UNLIMITED = {
  RATE_LIMIT_ADDRESS: "0",
  RATE_LIMIT_USER: "0",
  RATE_LIMIT_SIGN_IN: "0",
  LOG_LEVEL: "error",
};

let there: StartedPlatform;
let api: Client;
let root: string;
let me: Person;
let partners: { partnerId: string; products: string[]; staff: Person[] }[];
let couriers: Person[];
let operators: Person[];

const several = <T>(count: number, make: () => Promise<T>) =>
  Promise.all(Array.from({ length: count }, make));

beforeAll(async () => {
  const folder = mkdtempSync(join(runFolder(), "streams-"));
  there = await startPlatform(join(folder, "data"), UNLIMITED, { timeoutMs: 150_000 });
  api = await connect(async () => there);
  root = await admin(api);
  me = await customer(api);
  partners = [];
  for (let count = 0; count < PARTNERS; count++) {
    const { partnerId, products } = await kitchenWithoutSystem(api, root);
    const staff = await several(2, () => invited(api, root, { role: "partner", partner_id: partnerId }));
    partners.push({ partnerId, products, staff });
  }
  couriers = await several(COURIERS, () => invited(api, root, { role: "deliverer" }));
  operators = await several(OPERATORS, () => invited(api, root, { role: "admin" }));
}, TIMEOUT_MS);
afterAll(() => there?.end("SIGTERM"));

/** CPU seconds and megabytes of the whole platform, which is one process. */
async function usage() {
  const text = await (await fetch(`${there.opsUrl}/metrics`)).text();
  const value = (name: string) => Number(new RegExp(`^${name} (.*)$`, "m").exec(text)?.[1]);
  return {
    cpuSeconds: value("process_cpu_seconds_total"),
    megabytes: Math.round(value("process_resident_memory_bytes") / 2 ** 20),
    open: [...text.matchAll(/^waybill_streams_open\{[^}]*kind="(\w+)"[^}]*\} (\d+)$/gm)].map(
      ([, kind, count]) => [...[kind, Number(count)]],
    ),
  };
}

/** From the check to the assignment: five moves. */
async function liveOne(index: number): Promise<string> {
  const { staff, ...shop } = partners[index % PARTNERS] as (typeof partners)[number];
  const by = (staff[0] as Person).token;
  const { order_id, checkout_url } = await order(api, me, shop);
  await atCheckout(checkout_url, { action: "pay" });
  await eventually(() => api.ok(`POST /orders/${order_id}/accept`, { token: by, key: newId(), body: {} }));
  await api.ok(`POST /orders/${order_id}/ready`, { token: by, key: newId() });
  const courier = couriers[index % COURIERS] as Person;
  await api.ok(`POST /orders/${order_id}/assign`, { ...courier, key: newId() });
  return order_id;
}
async function liveMany(onEach: (index: number) => void = () => undefined): Promise<string[]> {
  const ids: string[] = [];
  for (let index = 0; index < ORDERS; index += 4) {
    ids.push(...(await Promise.all([0, 1, 2, 3].map((more) => liveOne(index + more)))));
    onEach(index);
  }
  return ids;
}

interface Followed {
  kind: "partner" | "courier" | "operator";
  of: string;
  client: StreamClient;
}

describe("five hundred streams of one gateway", () => {
  it(
    "get everything once, also those that reconnect in the middle",
    async () => {
      const before = await usage();
      await liveMany();
      const alone = await usage();
      const base = `${there.url}/api/v1`;
      const streams: Followed[] = [];
      const open = (kind: Followed["kind"], of: string, path: string, { token }: Person) => {
        for (let count = 0; count < STREAMS_EACH; count++)
          streams.push({ kind, of, client: streamClient([`${base}${path}`], async () => token) });
      };
      for (const { partnerId, staff } of partners)
        for (const who of staff) open("partner", partnerId, `/partners/${partnerId}/events`, who);
      for (const courier of couriers) open("courier", courier.id, "/deliveries/events", courier);
      for (const operator of operators) open("operator", "all", "/events", operator);
      expect(streams).toHaveLength(500);
      await eventually(() => expect(streams.filter(({ client }) => client.reloads !== 1)).toEqual([]));
      const opened = await usage();
      expect(Object.fromEntries(opened.open)).toMatchObject({ partner: 200, courier: 200, operator: 100 });
      await delay(IDLE_MS);
      const idle = await usage();

      // Two of three streams reconnect once or more, spread over the orders; the others never do.
      let reconnections = 0;
      const reconnect = (client: StreamClient) => {
        client.reconnect();
        reconnections++;
      };
      const ids = await liveMany((index) => {
        for (const [number, { client }] of streams.entries()) {
          if (number % 3 > 0 && number % 10 === (index / 4 + 3) % 10) reconnect(client);
          else if (number % 3 === 1 && number % 7 === (index / 4) % 7) reconnect(client);
        }
      });
      const busy = await usage();
      const histories = await Promise.all(
        ids.map(async (id) => {
          const { items } = await eventually(async () => {
            const history = await api.ok<{ items: { version: number }[] }>(`GET /orders/${id}/history`, {
              token: root,
            });
            expect(history.items.length).toBeGreaterThanOrEqual(5);
            return history;
          });
          return items.map(({ version }) => `${id} ${version}`);
        }),
      );
      const moves = histories.flat();
      const movesOf = (seen: readonly Seen[]) =>
        seen.flatMap(({ event, orderId, version }) => (event === "order" ? [`${orderId} ${version}`] : []));
      const wanted = { all: moves } as Record<string, string[]>;
      for (const [index, { partnerId }] of partners.entries())
        wanted[partnerId] = moves.filter(
          (move) => ids.indexOf(move.split(" ")[0] as string) % PARTNERS === index,
        );
      const complete = ({ kind, of, client: { seen } }: Followed) =>
        kind === "courier" || movesOf(seen).length >= (wanted[of]?.length ?? 0);
      await eventually(() => expect(streams.filter((one) => !complete(one)).map(({ of }) => of)).toEqual([]));
      for (const { kind, of, client } of streams) {
        const places = client.seen.map(({ id }) => id);
        expect(places).toEqual([...new Set(places)].toSorted((one, other) => one - other));
        if (kind !== "courier") expect(movesOf(client.seen).toSorted()).toEqual(wanted[of]?.toSorted());
        expect(client.reloads).toBe(1);
      }
      // Each stream of a courier got what the first one got, which never reconnected.
      for (const courier of couriers) {
        const own = streams.filter(({ of }) => of === courier.id).map(({ client }) => client.seen);
        await eventually(() => {
          const longest = Math.max(...own.map((seen) => seen.length));
          for (const seen of own) expect(seen).toHaveLength(longest);
        });
        for (const seen of own) expect(seen).toEqual(own[0]);
      }
      const events = streams.reduce((sum, { client }) => sum + client.seen.length, 0);
      for (const { client } of streams) client.close();
      const seconds = (one: { cpuSeconds: number }, other: { cpuSeconds: number }) =>
        (other.cpuSeconds - one.cpuSeconds).toFixed(1);
      process.stdout.write(
        `${ORDERS} orders without streams: ${seconds(before, alone)} s of CPU, ${alone.megabytes} MB. 500 streams: opened with ` +
          `${seconds(alone, opened)} s, ${opened.megabytes} MB; idle for ${IDLE_MS / 1000} s: ${seconds(opened, idle)} s; ` +
          `${ORDERS} orders, ${reconnections} reconnections, ${events} events sent: ${seconds(idle, busy)} s, ${busy.megabytes} MB\n`,
      );
    },
    TIMEOUT_MS,
  );
});
