import { eventually } from "../support/eventually.ts";
import { query } from "../support/sql.ts";
import { type StreamClient, streamClient } from "../support/stream-client.ts";
import type { Run } from "./run.ts";

const COMPLETE_TIMEOUT_MS = 60_000;
const SHOWN = 5;

interface Follower {
  name: string;
  partnerId?: string;
  client: StreamClient;
}

/** The operator's streams of everything and of each partner. They resume at another gateway when theirs has died. */
export interface Followers {
  /** Waits until they have everything that has happened, and ends them. @returns what is wrong, a line each */
  judge(): Promise<{ problems: string[]; connections: number; events: number }>;
}

export async function follow({ cluster, world }: Run): Promise<Followers> {
  const urls = cluster.gateways.map(({ url }) => `${url}/api/v1`);
  const open = (name: string, path: string, partnerId?: string): Follower => {
    const client = streamClient(
      urls.map((url) => url + path),
      () => world.tokenOf(world.operator),
    );
    return { name, client, ...(partnerId && { partnerId }) };
  };
  const followers = [
    ...[1, 2].map((number) => open(`operator ${number}`, "/events")),
    ...world.kitchens.map(({ partnerId }) =>
      open(`partner ${partnerId}`, `/partners/${partnerId}/events`, partnerId),
    ),
  ];
  await eventually(() => {
    if (followers.some(({ client }) => client.reloads === 0)) throw new Error("a stream has not begun");
  });
  const orders = cluster.url("orders");
  const [{ since } = { since: "" }] = await query<{ since: string }>(
    orders,
    "SELECT clock_timestamp()::text AS since",
  );

  return {
    async judge() {
      const moves = await query<{ move: string; partnerId: string }>(
        orders,
        `SELECT t.order_id || ' ' || t.version AS move, o.partner_id AS "partnerId"
         FROM order_transitions t JOIN orders o ON o.id = t.order_id WHERE t.created_at > $1`,
        [since],
      );
      const problems = await Promise.all(
        followers.map(async ({ name, partnerId, client }) => {
          const wanted = moves.flatMap((one) =>
            !partnerId || one.partnerId === partnerId ? [one.move] : [],
          );
          const seen = () =>
            client.seen.flatMap(({ orderId, version }) => (orderId ? [`${orderId} ${version}`] : []));
          const missing = () => {
            const known = new Set(seen());
            return wanted.filter((move) => !known.has(move));
          };
          await eventually(
            () => {
              if (missing().length > 0) throw new Error("incomplete");
            },
            { timeoutMs: COMPLETE_TIMEOUT_MS },
          ).catch(() => undefined);
          const all = seen();
          const twice = all.filter((move, index) => all.indexOf(move) !== index);
          return [
            ...missing()
              .slice(0, SHOWN)
              .map((move) => `the stream of ${name} misses ${move}`),
            ...twice.slice(0, SHOWN).map((move) => `the stream of ${name} got ${move} twice`),
            ...(client.reloads === 1 ? [] : [`the stream of ${name} began ${client.reloads} times`]),
          ];
        }),
      );
      for (const { client } of followers) client.close();
      const sum = (value: (client: StreamClient) => number) =>
        followers.reduce((total, { client }) => total + value(client), 0);
      return {
        problems: problems.flat(),
        connections: sum(({ connections }) => connections),
        events: sum(({ seen }) => seen.length),
      };
    },
  };
}
