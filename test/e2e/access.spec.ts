import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { operatorRoles } from "../../contracts/meta.ts";
import { newId } from "../../lib/ids.ts";
import { eventually } from "../support/eventually.ts";
import { platformApart, type StartedPlatform } from "../support/platform.ts";
import { type Cell, cells, GIVING_AWAY, type Outcome, type SignedIn, verdicts } from "./access-matrix.ts";
import { type Client, connect } from "./client.ts";
import {
  admin,
  carriedOrder,
  customer,
  invited,
  type Kitchen,
  kitchen,
  type Order,
  ownText,
  type Person,
  sandboxBank,
  signIn,
} from "./world.ts";

/** It is written here so that the author of a new operation sees the number of tested cells. */
const MATRIX_SIZE = 1_225;

let there: StartedPlatform;
let api: Client;
let root: string;
let owner: Person;
let shop: Kitchen;
let elsewhere: Kitchen;
let orderId: string;
let strangers: Record<SignedIn, string>;
let insiders: Record<SignedIn, Person>;
let known: Record<string, string>;
/** The resources of the insiders. Cells of another owner name the customer's resources. */
let own: Record<SignedIn, Record<string, string>>;

beforeAll(async () => {
  there = await platformApart();
  api = await connect(async () => there);
  root = await admin(api);
  [shop, elsewhere] = await Promise.all([kitchen(api, root), kitchen(api, root)]);
  const [courier, stranger, otherCourier, otherStaff, otherOwner, staff, owningStaff, ...operators] =
    await Promise.all([
      invited(api, root, { role: "deliverer" }),
      customer(api),
      invited(api, root, { role: "deliverer" }),
      invited(api, root, { role: "partner", partner_id: elsewhere.partnerId }),
      invited(api, root, { role: "partner", partner_id: elsewhere.partnerId, partner_admin: true }),
      invited(api, root, { role: "partner", partner_id: shop.partnerId }),
      invited(api, root, { role: "partner", partner_id: shop.partnerId, partner_admin: true }),
      ...operatorRoles.map((role) => invited(api, root, { role })),
      ...(["support", "finance"] as const).map((role) => invited(api, root, { role })),
    ]);
  const [support, finance, operator, otherSupport, otherFinance] = operators as [
    ...[Person, Person, Person, Person, Person],
  ];
  owner = await customer(api);
  ({ order_id: orderId } = await carriedOrder(api, owner, shop, courier));
  insiders = {
    customer: owner,
    deliverer: courier,
    partner: staff,
    partner_admin: owningStaff,
    ...{ support, finance, admin: operator },
  };
  strangers = {
    customer: stranger.token,
    deliverer: otherCourier.token,
    partner: otherStaff.token,
    partner_admin: otherOwner.token,
    ...{ support: otherSupport.token, finance: otherFinance.token, admin: root },
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
    template_id: await ownText(api, root),
    receipt_id: newId(),
    refund_id: newId(),
    dead_letter_id: `orders:${newId()}`,
    token: "A".repeat(51),
    user_id: (await customer(api)).id,
    courier_id: courier.id,
    invitation_id: await invitationOf(shop.partnerId),
  };
  const roles = Object.entries(insiders).map(async ([role, who]) => [role, await belongings(who)] as const);
  own = Object.fromEntries(await Promise.all(roles)) as typeof own;
});
afterAll(() => Promise.all([shop?.close(), elsewhere?.close(), there?.end("SIGTERM")]));

/** Reads it and sends it back as a change. @returns the fields that are refused, each as unknown */
async function sentBack(path: string, token: string): Promise<string[]> {
  const body = await api.ok<object>(`GET ${path}`, { token });
  const answer = await api.request<{ errors: { field: string; rule: string }[] }>(`PATCH ${path}`, {
    token,
    body,
  });
  expect(answer.status).toBe(422);
  return answer.body.errors.filter(({ rule }) => rule === "unknown").map(({ field }) => field);
}

/** A session and a device of this person's which may go. */
async function belongings({ email, token }: Person): Promise<Record<string, string>> {
  const phone = { provider: "sandbox", token: `phone-${newId()}`, device_name: "Another phone" };
  const device = await api.ok<{ id: string }>("POST /me/devices", { token, key: newId(), body: phone });
  const { access_token } = await signIn(api, email);
  const { items } = await api.ok<{ items: { id: string; current: boolean }[] }>("GET /sessions", {
    token: access_token,
  });
  const session = items.find(({ current }) => current);
  return { device_id: device.id, session_id: session?.id as string };
}

/** All resources of the customer and the shop, as the permitted users see them. */
async function everythingOwned(): Promise<unknown> {
  const ofOwner = [`/orders/${orderId}`, "/me", "/me/devices", "/me/notification-preferences", "/sessions"];
  const at = `/partners/${shop.partnerId}`;
  const ofShop = [at, `${at}/products`, `${at}/webhook`];
  const read = (token: string) => async (path: string) => [path, await api.ok(`GET ${path}`, { token })];
  return await Promise.all([...ofOwner.map(read(owner.token)), ...ofShop.map(read(root))]);
}

/** An invitation that the partner's admins may withdraw. */
async function invitationOf(partnerId: string): Promise<string> {
  const body = { email: `${newId()}@staff.example`, role: "partner", partner_id: partnerId };
  const invitation = { token: root, key: newId(), body };
  return (await api.ok<{ invitation_id: string }>("POST /invitations", invitation)).invitation_id;
}

async function firstId(operation: string, token: string): Promise<string> {
  const { items } = await api.ok<{ items: { id: string }[] }>(operation, { token });
  const [first] = items;
  if (!first) throw new Error(`${operation} lists nothing`);
  return first.id;
}

/** The operation with a valid request, sent by the given user. */
async function attempt({ endpoint, sender, decided }: Cell, token?: string): Promise<Outcome> {
  const { route, body } = endpoint;
  const path = pathOf({ endpoint, sender, decided });
  const { status, body: answer } = await api.request<{ code?: string }>(`${route.method} ${path}`, {
    ...(token && { token }),
    ...(body?.part && { body: { ...(body.example as object), ...ownFields(endpoint.operation) } }),
    ...(body?.kind === "image" && { image: Buffer.from("bytes") }),
    ...(route.method === "POST" && { key: newId() }),
  });
  return { status, code: answer?.code ?? "" };
}

/** The path of the operation, with ids of what the sender owns where that is allowed. */
function pathOf({ endpoint, sender, decided }: Pick<Cell, "endpoint" | "sender" | "decided">): string {
  const named = { ...known, ...(decided === "allowed" && own[sender as SignedIn]) };
  return endpoint.route.path.replace(/\{(\w+)\}/g, (_, name: string) => named[name] as string);
}

/** Where the example would not do: what has to be there, and with wrong passwords, so that no account is deleted. */
function ownFields(operation: string): object {
  if (operation === "DELETE /me") return { password: "not the password" };
  if (operation === "PUT /me/password") return { current_password: "not the password" };
  // To one address only so many letters are sent.
  if (operation === "POST /invitations") return { email: `${newId()}@staff.example` };
  if (operation === "PATCH /me")
    return { email: `${newId()}@staff.example`, current_password: "not the password" };
  if (operation !== "POST /orders/check") return {};
  return { partner_id: shop.partnerId, lines: [{ product_id: shop.products[0], quantity: 1 }] };
}

/** Does what the cells say. @returns those that came out otherwise */
async function surprises(
  some: readonly Cell[],
  tokenOf: (cell: Cell) => string | undefined | Promise<string>,
) {
  const wrong: string[] = [];
  for (const cell of some) {
    const { endpoint, sender, owner, decided } = cell;
    const outcome = await attempt(cell, await tokenOf(cell));
    if (!verdicts[decided](outcome, cell))
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
  it("without a token, is refused exactly where one is required", async () => {
    const stranger = ({ sender }: Cell) => (sender === "nobody" ? undefined : strangers[sender]);
    expect(await surprises(decidedAs("unknown", "public", "signed"), stranger)).toEqual([]);
  });

  it("with a role that is not allowed, is refused", async () => {
    const some = decidedAs("forbidden");
    expect(await surprises(some, ({ sender }) => strangers[sender as SignedIn])).toEqual([]);
  });

  it("on another user's data, is refused and changes nothing", async () => {
    const before = await everythingOwned();
    const some = decidedAs("hidden");
    expect(await surprises(some, ({ sender }) => strangers[sender as SignedIn])).toEqual([]);
    expect(await everythingOwned()).toEqual(before);
  });

  it("in lists, returns only the caller's own data", async () => {
    for (const role of ["customer", "deliverer", "partner", "partner_admin"] as const) {
      const { items } = await api.ok<{ items: Order[] }>("GET /orders?limit=100", { token: strangers[role] });
      expect(items.map(({ id }) => id)).not.toContain(orderId);
    }
  });

  it("refuses every field of an answer that is sent back as input, unless it is input", async () => {
    expect(await sentBack("/me", owner.token)).toEqual(
      expect.arrayContaining(["id", "role", "email_confirmed", "version", "created_at"]),
    );
    const order = await sentBack(`/orders/${orderId}`, owner.token);
    expect(order).toEqual(
      expect.arrayContaining([
        "id",
        "status",
        "payment_status",
        "total",
        "fee",
        "paid",
        "refunded",
        "version",
      ]),
    );
    const partner = await sentBack(`/partners/${shop.partnerId}`, root);
    expect(partner).toEqual(expect.arrayContaining(["id", "version"]));
    expect(partner).not.toContain("title");
  });

  it("with an allowed role, on the caller's own or shared data, is allowed", async () => {
    const some = decidedAs("allowed").filter(({ endpoint }) => endpoint.route.content !== "events");
    const streams = decidedAs("allowed").filter(({ endpoint }) => endpoint.route.content === "events");
    const fresh = async ({ sender, endpoint }: Cell) => {
      const who = insiders[sender as SignedIn];
      // Operations that end sessions get a session that no other cell needs.
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
      const { access_token } = await signIn(api, insiders[cell.sender as SignedIn].email);
      const stream = await api.follow(`GET ${pathOf(cell)}`, { token: access_token });
      stream.end();
      done.add(cell);
    }
    // The whole matrix was gone through: none of its cells was left out.
    expect({ done: done.size, size: cells.length }).toEqual({ done: cells.length, size: MATRIX_SIZE });
  });
});
