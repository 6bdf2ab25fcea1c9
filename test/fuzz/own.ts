import fc from "fast-check";
import sharp from "sharp";
import type { Role } from "../../contracts/meta.ts";
import { newId } from "../../lib/ids.ts";
import { routes } from "../../services/api/routes/index.ts";
import type { Route } from "../../services/api/routes/route.ts";
import type { Client } from "../e2e/client.ts";
import { documentedIn, isRepeatable } from "./documented.ts";
import { requestsOf, rolesOf, sendMutated } from "./mutations.ts";
import { count, find, type Tally } from "./tally.ts";
import type { FuzzWorld } from "./world.ts";

/** Errors that a well-formed request never gets. */
const MALFORMED = ["bad_request", "bad_json", "validation_error", "unsupported_media_type"];
const routeOf = new Map(routes.map((route) => [`${route.method} ${route.path}`, route]));

/**
 * Sends the documented example of every operation, with real ids in the place of the example's.
 * @param tally gets every example that the operation does not accept
 */
export async function examples(api: Client, world: FuzzWorld, tally: Tally): Promise<void> {
  const tokens = await tokensOf(world);
  const picture = await png();
  for (const { operation, method, path, body, required } of documentedIn(api.document).filter(isRepeatable)) {
    const route = routeOf.get(operation) as Route;
    const [role = "customer"] = rolesOf(route);
    const query = new URLSearchParams(required).toString();
    const target = `${path.replace(/\{(\w+)\}/g, (_, name: string) => world.ids[name] ?? newId())}${query && `?${query}`}`;
    const sent = body?.example === undefined ? undefined : withIds(body.example, world.ids);
    const answer = api.request<{ code?: string }>(`${method} ${target}`, {
      ...(route.access !== "public" && route.access !== "signed" && { token: tokens[role] }),
      ...(sent !== undefined && { body: sent }),
      ...(body?.type.startsWith("image/") && { image: picture }),
      ...(route.access === "signed" && { body: "{}" }),
      ...(method === "POST" && { key: newId() }),
    });
    await judged(tally, operation, answer, (status, code) =>
      status >= 500 || MALFORMED.includes(code)
        ? `its documented example is answered ${status} ${code}`
        : undefined,
    );
  }
}

/** A picture that the platform takes. */
export function png(): Promise<Buffer> {
  const create = { width: 8, height: 8, channels: 3, background: "#a03020" } as const;
  return sharp({ create }).png().toBuffer();
}

/** The example with what stands in the world: ids and the like, by the names of the fields. */
export function withIds(example: unknown, ids: Readonly<Record<string, string>>): unknown {
  if (Array.isArray(example)) return example.map((item) => withIds(item, ids));
  if (typeof example !== "object" || example === null) return example;
  return Object.fromEntries(
    Object.entries(example).map(([name, value]) => [name, ids[name] ?? withIds(value, ids)]),
  );
}

/** Sends requests that are nearly right. @param options.runs how many to each operation */
export async function breakRequests(
  api: Client,
  world: FuzzWorld,
  tally: Tally,
  { seed, runs }: { seed: number; runs: number },
): Promise<void> {
  const tokens = await tokensOf(world);
  for (const one of documentedIn(api.document).filter(isRepeatable)) {
    const roles = rolesOf(routeOf.get(one.operation) as Route);
    // A property that fails is sought a smaller example for, and so names the smallest in the tally too.
    const property = fc.asyncProperty(requestsOf(one, roles, world.ids), async (sent) => {
      const answer = sendMutated(api, one, sent, tokens).then((status) => ({
        status,
        body: { code: "" },
      }));
      const wrong = (status: number) => (status >= 500 ? `answered ${status}` : undefined);
      return await judged(tally, one.operation, answer, wrong, JSON.stringify(sent));
    });
    await fc.check(property, { seed, numRuns: runs });
  }
}

/** @returns whether nothing was wrong with it */
async function judged(
  tally: Tally,
  operation: string,
  answer: Promise<{ status: number; body: { code?: string } | undefined }>,
  wrong: (status: number, code: string) => string | undefined,
  sample = "",
): Promise<boolean> {
  try {
    const { status, body } = await answer;
    count(tally, operation, status);
    const what = wrong(status, body?.code ?? "");
    if (what) find(tally, operation, what, `${sample} -> ${JSON.stringify(body)}`);
    return what === undefined;
  } catch (error) {
    // The client throws for whatever the document does not declare.
    find(
      tally,
      operation,
      (error as Error).message.slice(0, 160),
      `${sample} -> ${(error as Error).message}`,
    );
    return false;
  }
}

export async function tokensOf(world: FuzzWorld): Promise<Record<Role, string>> {
  const roles = ["customer", "partner", "deliverer", "admin"] as const;
  const pairs = await Promise.all(roles.map(async (role) => [role, await world.token(role)]));
  return Object.fromEntries(pairs) as Record<Role, string>;
}
