import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Role } from "../../contracts/meta.ts";
import { newId } from "../../lib/ids.ts";
import { type Endpoint, endpointOf } from "../../services/api/endpoint.ts";
import { routes } from "../../services/api/routes/index.ts";
import { eventually } from "../support/eventually.ts";
import { platformApart, type StartedPlatform } from "../support/platform.ts";
import { type Client, connect } from "./client.ts";
import {
  admin,
  carriedOrder,
  customer,
  invited,
  type Kitchen,
  kitchen,
  type Order,
  type Person,
  sandboxBank,
  signIn,
} from "./world.ts";

/** Placeholders whose resource belongs to somebody; what else a path names is everybody's to name. */
const OWNED = ["order_id", "session_id", "device_id"];
/** Where the partner that a path names has to be one's own. */
const PARTNERS_OWN = "Partner administration";
/** An order in the pool is every deliverer's to claim; that it is taken already is no secret. */
const answersTaken = "POST /orders/{order_id}/assign";

/** What the tables leave to the service: partners may invite their own staff only, and not verify themselves. */
const FINER = ["POST /invitations", "PATCH /partners/{partner_id}"];
/** What nobody has here, or has by another id, or what the sender before has deleted. */
const NOT_THERE = [
  "DELETE /sessions/{session_id}",
  "GET /me/avatar",
  "POST /me/devices",
  "DELETE /me/devices/{device_id}",
  "GET /orders/{order_id}/proof",
  "DELETE /partners/{partner_id}/products/{product_id}",
  "POST /dead-letters/{dead_letter_id}/replay",
  "DELETE /dead-letters/{dead_letter_id}",
];
/** What makes a resource somebody else's or nobody's, or ends who asks, in the order in which it may be done. */
const GIVING_AWAY = [
  "POST /orders/{order_id}/fail",
  "POST /orders/{order_id}/release",
  "POST /orders/{order_id}/reassign",
  "POST /orders/{order_id}/cancel",
  "POST /orders/{order_id}/override",
  "DELETE /partners/{partner_id}/products/{product_id}",
  "DELETE /sessions",
];
const SENDERS = ["nobody", "customer", "deliverer", "partner", "admin"] as const;
type Sender = (typeof SENDERS)[number];
/** It is said here so that whoever adds an operation sees how much is held to account. */
const MATRIX_SIZE = 519;

interface Outcome {
  status: number;
  code: string;
}

const endpoints = routes.map(endpointOf);

let there: StartedPlatform;
let api: Client;
let root: string;
let owner: Person;
let shop: Kitchen;
let elsewhere: Kitchen;
let orderId: string;
let strangers: Record<Role, string>;
let insiders: Record<Role, Person>;
let known: Record<string, string>;

beforeAll(async () => {
  there = await platformApart();
  api = await connect(async () => there);
  root = await admin(api);
  [shop, elsewhere] = await Promise.all([kitchen(api, root), kitchen(api, root)]);
  const [courier, stranger, otherCourier, otherStaff, staff, operator] = await Promise.all([
    invited(api, root, { role: "deliverer" }),
    customer(api),
    invited(api, root, { role: "deliverer" }),
    invited(api, root, { role: "partner", partner_id: elsewhere.partnerId, partner_admin: true }),
    invited(api, root, { role: "partner", partner_id: shop.partnerId, partner_admin: true }),
    invited(api, root, { role: "admin" }),
  ]);
  owner = await customer(api);
  ({ order_id: orderId } = await carriedOrder(api, owner, shop, courier));
  insiders = { customer: owner, deliverer: courier, partner: staff, admin: operator };
  strangers = {
    customer: stranger.token,
    deliverer: otherCourier.token,
    partner: otherStaff.token,
    admin: root,
  };
  known = {
    order_id: orderId,
    partner_id: shop.partnerId,
    product_id: shop.products[0] as string,
    bank_id: await sandboxBank(api, owner),
    session_id: await firstId("GET /sessions", owner.token),
    device_id: await eventually(() => firstId("GET /me/devices", owner.token)),
    delivery_id: await firstId(`GET /partners/${shop.partnerId}/webhook/deliveries`, root),
    agent_id: await firstId("GET /agents", root),
    dead_letter_id: `orders:${newId()}`,
    token: "A".repeat(51),
  };
}, 90_000);
afterAll(() => Promise.all([shop?.close(), elsewhere?.close(), there?.end("SIGTERM")]));

async function firstId(operation: string, token: string): Promise<string> {
  const { items } = await api.ok<{ items: { id: string }[] }>(operation, { token });
  const [first] = items;
  if (!first) throw new Error(`${operation} lists nothing`);
  return first.id;
}

/** The operation as it would succeed for whoever may do it, done by somebody. */
async function attempt({ route, body }: Endpoint, token?: string): Promise<Outcome> {
  const path = route.path.replace(/\{(\w+)\}/g, (_, name: string) => known[name] as string);
  const { status, body: answer } = await api.request<{ code?: string }>(`${route.method} ${path}`, {
    ...(token && { token }),
    ...(body?.part && { body: { ...(body.example as object), ...wrongPassword(route.path) } }),
    ...(body?.kind === "image" && { image: Buffer.from("bytes") }),
    ...(route.method === "POST" && { key: newId() }),
  });
  return { status, code: answer?.code ?? "" };
}

/** The example's password is everybody's here, and nobody is to lose the account. */
function wrongPassword(path: string): object {
  if (path === "/me") return { password: "not the password" };
  return path === "/me/password" ? { current_password: "not the password" } : {};
}

function belongsToSomebody({ route: { path, tag } }: Endpoint): boolean {
  return (
    OWNED.some((name) => path.includes(`{${name}}`)) ||
    (tag === PARTNERS_OWN && path.includes("{partner_id}"))
  );
}

/** One of operation x role x owner, and what has to come of it. */
interface Cell {
  endpoint: Endpoint;
  sender: Sender;
  /** Whose it is what the path names; an admin may see everybody's, and what is nobody's has no owner. */
  owner: "own" | "another's" | "nobody's";
  decided: keyof typeof verdicts;
}

/** The whole matrix, each cell decided by the tables alone. */
const cells: readonly Cell[] = endpoints.flatMap((endpoint) =>
  SENDERS.flatMap((sender) => {
    const { access } = endpoint.route;
    const owners: Cell["owner"][] =
      belongsToSomebody(endpoint) && sender !== "admin" ? ["another's", "own"] : ["nobody's"];
    return owners.map((owner): Cell => {
      const cell = (decided: Cell["decided"]) => ({ endpoint, sender, owner, decided });
      if (access === "public" || access === "signed") return cell(access);
      if (sender === "nobody") return cell("unknown");
      if (access !== "any" && !access.includes(sender)) return cell("forbidden");
      return cell(owner === "another's" ? "hidden" : "allowed");
    });
  }),
);

const verdicts = {
  /** Whoever it is; no sign-in is asked for, unless it is what the operation is about. */
  public: ({ code }: Outcome, { operation }: Endpoint) =>
    code !== "forbidden" && (code !== "unauthenticated" || operation === "POST /sessions/refresh"),
  /** Nobody has signed anything here. */
  signed: ({ code }: Outcome) => code === "bad_signature",
  unknown: ({ code }: Outcome) => code === "unauthenticated",
  forbidden: ({ code }: Outcome) => code === "forbidden",
  hidden: ({ status }: Outcome, { operation, route }: Endpoint) =>
    status === 404 ||
    // A partner's staff hears that it is not theirs: partners are no secret.
    status === 403 ||
    (status === 409 && operation === answersTaken) ||
    // Removing what one does not have is done already; whose it is stays untold.
    (status === 204 && route.method === "DELETE"),
  /** Past the gate and past the owner's: what stops it now is the state or nothing. */
  allowed: ({ status, code }: Outcome, { operation, route }: Endpoint) =>
    code !== "unauthenticated" &&
    (status !== 403 || (route.problems ?? []).includes("FORBIDDEN") || FINER.includes(operation)) &&
    (status !== 404 || NOT_THERE.includes(operation)),
};

/** Does what the cells say. @returns those that came out otherwise */
async function surprises(
  some: readonly Cell[],
  tokenOf: (cell: Cell) => string | undefined | Promise<string>,
) {
  const wrong: string[] = [];
  for (const cell of some) {
    const { endpoint, sender, owner, decided } = cell;
    const outcome = await attempt(endpoint, await tokenOf(cell));
    if (!verdicts[decided](outcome, endpoint))
      wrong.push(
        `${endpoint.operation} as ${sender}, ${owner}: ${decided}, but ${outcome.status} ${outcome.code}`,
      );
    else done.add(cell);
  }
  return wrong;
}
const done = new Set<Cell>();
const decidedAs = (...decided: Cell["decided"][]) => cells.filter((cell) => decided.includes(cell.decided));

describe("access, for every operation, role and owner of the tables", () => {
  it("without a sign-in, is refused wherever one is needed, and is asked for nowhere else", async () => {
    const stranger = ({ sender }: Cell) => (sender === "nobody" ? undefined : strangers[sender]);
    expect(await surprises(decidedAs("unknown", "public", "signed"), stranger)).toEqual([]);
  });

  it("with a role that it is not for, is refused", async () => {
    const some = decidedAs("forbidden");
    expect(await surprises(some, ({ sender }) => strangers[sender as Role])).toEqual([]);
  });

  it("on what is another's, finds nothing and changes nothing", async () => {
    const before = await api.ok<Order>(`GET /orders/${orderId}`, owner);
    const some = decidedAs("hidden");
    expect(await surprises(some, ({ sender }) => strangers[sender as Role])).toEqual([]);
    expect(await api.ok<Order>(`GET /orders/${orderId}`, owner)).toEqual(before);
    expect(await firstId("GET /me/devices", owner.token)).toBe(known.device_id);
    expect((await api.request("GET /sessions", owner)).status).toBe(200);
  });

  it("shows in lists only what is one's own", async () => {
    for (const role of ["customer", "deliverer", "partner"] as const) {
      const { items } = await api.ok<{ items: Order[] }>("GET /orders?limit=100", { token: strangers[role] });
      expect(items.map(({ id }) => id)).not.toContain(orderId);
    }
  });

  it("refuses every field of an answer that is sent back as input, unless it is input", async () => {
    const profile = await api.ok<object>("GET /me", owner);
    const answer = await api.request<{ errors: { field: string }[] }>("PATCH /me", {
      ...owner,
      body: profile,
    });
    expect(answer.status).toBe(422);
    expect(answer.body.errors.map(({ field }) => field)).toEqual(
      expect.arrayContaining(["id", "role", "email_confirmed", "version", "created_at"]),
    );
    const order = await api.ok<object>(`GET /orders/${orderId}`, owner);
    expect((await api.request(`PATCH /orders/${orderId}`, { ...owner, body: order })).status).toBe(422);
    const partner = await api.ok<object>(`GET /partners/${shop.partnerId}`, owner);
    expect(
      (await api.request(`PATCH /partners/${shop.partnerId}`, { token: root, body: partner })).status,
    ).toBe(422);
  });

  it("with a role that it is for, on what is one's own or nobody's, is let through", async () => {
    const some = decidedAs("allowed").filter(({ endpoint }) => endpoint.route.content !== "events");
    const streams = decidedAs("allowed").filter(({ endpoint }) => endpoint.route.content === "events");
    const fresh = async ({ sender, endpoint }: Cell) => {
      const who = insiders[sender as Role];
      // What ends sessions ends one that is needed for nothing else.
      if (/^DELETE \/sessions/.test(endpoint.operation)) return (await signIn(api, who.email)).access_token;
      return who.token;
    };
    // First what leaves everything where it is, then what gives it away.
    const order = ({ endpoint: { operation } }: Cell) => GIVING_AWAY.indexOf(operation);
    expect(
      await surprises(
        some.toSorted((a, b) => order(a) - order(b)),
        fresh,
      ),
    ).toEqual([]);
    for (const cell of streams) {
      const { access_token } = await signIn(api, insiders[cell.sender as Role].email);
      const stream = await api.follow(`GET /orders/${orderId}/events`, { token: access_token });
      stream.end();
      done.add(cell);
    }
    // The whole matrix was gone through: none of its cells was left out.
    expect({ done: done.size, size: cells.length }).toEqual({ done: cells.length, size: MATRIX_SIZE });
  });
});
