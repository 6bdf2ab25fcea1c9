/**
 * `npm run test:fuzz` sends generated requests to a running platform: by Schemathesis with all its checks, as each
 * role and without a sign-in, and by a generator of our own that breaks valid requests a little. It fails on any answer that
 * the OpenAPI document does not declare, any 5xx, and any operation that never succeeded.
 *   npm run test:fuzz                          a platform of its own, some thousand requests
 *   npm run test:fuzz -- --long                until 50,000 requests
 *   npm run test:fuzz -- --requests 20000      until that many
 *   npm run test:fuzz -- --seed 7              the same requests again
 *   npm run test:fuzz -- --url http://… --sandbox http://… --admin ada@example.com
 *                                              a platform that runs already, with its sandbox and its rate limits
 *                                              off; the admin's password is taken from ADMIN_PASSWORD
 */
import { randomInt } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { operationIdOf } from "moleculer-open-api";
import { endpointOf } from "../../services/api/pipeline/endpoint.ts";
import { routes } from "../../services/api/routes/index.ts";
import { type Client, connect } from "../e2e/client.ts";
import { uncovered } from "../e2e/covered.ts";
import { customer } from "../e2e/world.ts";
import { startPlatform, type TestPlatform } from "../support/platform.ts";
import { lives } from "./lives.ts";
import { breakRequests, examples } from "./own.ts";
import { attack } from "./schemathesis.ts";
import { newTally, type Tally } from "./tally.ts";
import { schemathesis } from "./tool.ts";
import { type FuzzWorld, fuzzWorld, senders } from "./world.ts";

const LONG_REQUESTS = 50_000;
const START_TIMEOUT_MS = 120_000;
/** Limits of the edge have tests of their own; here they would hide everything behind them. */
const UNLIMITED = {
  RATE_LIMIT_ADDRESS: "0",
  RATE_LIMIT_USER: "0",
  RATE_LIMIT_SIGN_IN: "0",
  // A pool that a busy machine empties is no finding.
  POSTGRES_ACQUIRE_TIMEOUT_MS: "10000",
};
const LONG_PHASES = ["examples", "coverage", "fuzzing", "stateful"];
const SHORT_PHASES = ["examples", "coverage", "fuzzing"];
const QUICK_PHASES = ["examples", "fuzzing"];
/** Dead letters need a broken handler; the callback of a payment is sent, signed, by the sandbox's own bank. */
const OUT_OF_REACH = [...uncovered, "POST /webhooks/payments/{bank_id}"];
/** They end the session or the account of their sender, so each is sent by a user of its own. */
const ENDING = [
  "DELETE /sessions",
  "DELETE /sessions/current",
  // An operation that lists sessions gives the tool the id of its own session.
  "DELETE /sessions/{session_id}",
  "DELETE /me",
  "PUT /me/password",
];
/** A stream does not end, and the tool waits for the end; lives.ts follows one of each kind. */
const STREAMS = [
  "GET /orders/{order_id}/events",
  "GET /partners/{partner_id}/events",
  "GET /deliveries/events",
  "GET /events",
];

const { values } = parseArgs({
  options: {
    long: { type: "boolean", default: false },
    requests: { type: "string" },
    seed: { type: "string" },
    url: { type: "string" },
    sandbox: { type: "string" },
    admin: { type: "string" },
  },
});
const seed = values.seed === undefined ? randomInt(2 ** 31) : Number(values.seed);
const wanted = values.requests ? Number(values.requests) : values.long ? LONG_REQUESTS : 0;
const folder = mkdtempSync(join(tmpdir(), "waybill-fuzz-"));
const say = (line: string) => process.stdout.write(`${line}\n`);
const seconds = () => `${Math.round(performance.now() / 1000)} s`;
const idOf = (operation: string) => operationIdOf(...(operation.split(" ") as [string, string]));
const tally = newTally();
const told = new Set<string>();
const deeds: (() => Promise<unknown>)[] = [];

try {
  process.exitCode = await fuzz();
} catch (error) {
  process.stderr.write(`${(error as Error).stack}\n`);
  process.exitCode = 1;
} finally {
  // The platform is a process of its own, and nothing else would keep this one until that has ended.
  const waiting = setInterval(() => undefined, 1_000);
  for (const undo of deeds.reverse()) await undo().catch(() => undefined);
  clearInterval(waiting);
  if (process.exitCode === 0) rmSync(folder, { recursive: true, force: true });
  else say(`What the tools and the platform printed is in ${folder}`);
}

async function fuzz(): Promise<number> {
  const command = await schemathesis();
  const platform = await target();
  const api = await connect(async () => platform);
  const world = await fuzzWorld(api);
  deeds.push(world.close);
  say(`Fuzzing ${platform.url} with seed ${seed} (ready after ${seconds()})`);
  await lives(api, world);
  await examples(api, world, tally);
  say(progress("true examples"));
  let round = 0;
  do {
    await schemathesisRound(command, platform.url, world, round);
    await endSessions(api, command, platform.url, round);
    say(progress("Schemathesis as users whose session or account ends"));
    await breakRequests(api, world, tally, { seed: seed + round, runs: wanted > 0 ? 20 : 3 });
    say(progress("requests that were broken a little"));
    round += 1;
  } while (tally.requests < wanted && tally.findings.size === 0);
  return report(tally, new Set([...tally.reached, ...api.reached]));
}

async function target(): Promise<TestPlatform> {
  const { url, sandbox = "", admin = "" } = values;
  if (!url) {
    const started = await startPlatform(join(folder, "data"), UNLIMITED, { timeoutMs: START_TIMEOUT_MS });
    deeds.push(() => started.end("SIGTERM"));
    return started;
  }
  const adminPassword = process.env.ADMIN_PASSWORD ?? "";
  return {
    ...{ url, sandboxUrl: sandbox, opsUrl: "", dataDir: folder, adminEmail: admin, adminPassword },
    alsoAt: [],
  };
}

/** Each sender once. Every other time the placeholders of paths are real, so that what lies behind is reached. */
async function schemathesisRound(
  command: string,
  url: string,
  world: FuzzWorld,
  round: number,
): Promise<void> {
  for (const [index, sender] of senders.entries()) {
    const real = (index + round) % 2 === 0 && sender !== "nobody";
    await attack(command, folder, tally, {
      url,
      name: `${round}-${sender}`,
      token: await world.token(sender),
      seed: seed + round,
      // Every boundary of every field as an admin; in the long form as every role.
      phases: wanted > 0 ? LONG_PHASES : sender === "admin" ? SHORT_PHASES : QUICK_PHASES,
      maxExamples: wanted > 0 ? 12 : 3,
      ...(real && { ids: world.ids }),
      except: [...(sender === "nobody" ? [] : ENDING), ...(sender === "nobody" ? [] : STREAMS)].map(idOf),
    });
    say(progress(`Schemathesis as ${sender}${real ? ", real ids" : ""}`));
    if (wanted > 0 && tally.requests >= wanted) return;
  }
}

/** Operations that end a session or an account, each sent by a new user. */
async function endSessions(api: Client, command: string, url: string, round: number): Promise<void> {
  for (const operation of ENDING) {
    const { token } = await customer(api);
    await attack(command, folder, tally, {
      ...{ url, name: `${round}-${idOf(operation)}`, token, seed: seed + round, maxExamples: 3 },
      phases: ["coverage"],
      only: [idOf(operation)],
    });
  }
}

function progress(what: string): string {
  const news = [...tally.findings].filter(([key]) => !told.has(key));
  for (const [key] of news) told.add(key);
  const found = news.map(([, { operation, what, sample }]) => `\n  ${operation}: ${what}\n    ${sample}`);
  return `${seconds().padStart(6)} ${String(tally.requests).padStart(6)} requests: ${what}${found.join("")}`;
}

function report({ requests, statuses, findings }: Tally, reached: ReadonlySet<string>): number {
  const sorted = [...statuses].sort(([a], [b]) => a - b).map(([status, times]) => `${status}: ${times}`);
  const operations = routes.map((route) => endpointOf(route).operation);
  const silent = operations.filter((one) => !reached.has(one));
  const missed = silent.filter((one) => !OUT_OF_REACH.includes(one));
  say(`${requests} requests in ${seconds()}, seed ${seed}. Answers ${sorted.join(", ")}`);
  say(
    `${operations.length - silent.length} of ${operations.length} operations answered 2xx; never: ${missed.join(", ") || "none"}`,
  );
  for (const { operation, what, times } of findings.values()) say(`- ${operation}: ${what} (${times} times)`);
  say(`${findings.size} findings`);
  return findings.size === 0 && missed.length === 0 ? 0 : 1;
}
