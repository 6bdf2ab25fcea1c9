import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { exampleOf } from "../../contracts/documentation.ts";
import { fail } from "../../contracts/errors.ts";
import { type ExportedData, type ExportPage, exportFile } from "../../contracts/exports.ts";
import { order } from "../../contracts/orders.ts";
import { newId } from "../../lib/ids.ts";
import { jsonOfPages } from "../../services/api/answers/export-file.ts";
import { field, orderExports } from "../../services/api/answers/orders-csv.ts";
import { eventually } from "../support/eventually.ts";
import { startGateway, type TestGateway } from "../support/gateway.ts";

const PERIOD = "from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00Z";
const FIELD_LENGTH = 100_000;

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startGateway();
});
afterAll(() => gateway.stop());
beforeEach(() => gateway.reset());

const rowOf = (more: object = {}) => ({ ...(exampleOf(order) as object), ...more });
const pagesRead = () => gateway.calls.filter(({ action }) => action === "orders.list").length;

/** Requests the export and leaves its body unread. */
async function request(id?: string): Promise<IncomingMessage> {
  const token = await gateway.identity.token({ role: "admin", ...(id && { id }) });
  const headers = { Authorization: `Bearer ${token}` };
  return new Promise((resolve, reject) => {
    get(`${gateway.url}/api/v1/orders.csv?${PERIOD}`, { headers, agent: false }, resolve).on("error", reject);
  });
}

async function textOf(response: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of response) text += chunk;
  return text;
}

describe("a field of CSV", () => {
  it.each([
    ["=1+1", "'=1+1"],
    ["+49151", "'+49151"],
    ["-2", "'-2"],
    ["@SUM(A1)", "'@SUM(A1)"],
    ["\t=1", "'\t=1"],
    ['=HYPERLINK("http://a.example","x")', `"'=HYPERLINK(""http://a.example"",""x"")"`],
    ["a,b", '"a,b"'],
    ["a\nb", '"a\nb"'],
    ["Ada", "Ada"],
    [-5, "-5"],
    [undefined, ""],
  ])("%j is written so that no spreadsheet computes it", (value, written) => {
    expect(field(value)).toBe(written);
  });
});

describe("the exports of a gateway", () => {
  it("are four at once, one for each user; a further one is refused", async () => {
    const { send } = orderExports();
    const readPage = () => new Promise<never>(() => undefined);
    const begin = (userId: string) =>
      send(userId, readPage, {} as never, { headersSent: false } as never, {});
    for (const userId of ["a", "b", "c", "d"]) void begin(userId).catch(() => undefined);
    await expect(begin("a")).rejects.toMatchObject({
      type: "TOO_MANY_REQUESTS",
      data: { retryAfterSeconds: 10 },
    });
    await expect(begin("e")).rejects.toMatchObject({ type: "OVERLOADED" });
  });
});

describe("GET /orders.csv", () => {
  it("writes the rows of all pages", async () => {
    gateway.on("orders.list", ({ params }) =>
      (params as { cursor?: string }).cursor
        ? { items: [rowOf()] }
        : { items: [rowOf(), rowOf()], nextCursor: "Mg" },
    );
    const response = await request();
    expect(response.statusCode).toBe(200);
    expect((await textOf(response)).trimEnd().split("\r\n")).toHaveLength(4);
  });

  it("reads pages of a hundred orders: of its partner for staff, of the filter for an admin", async () => {
    const partnerId = newId();
    const read = async (claims: object, query = "") => {
      const token = await gateway.identity.token(claims);
      const headers = { Authorization: `Bearer ${token}` };
      const response = await fetch(`${gateway.url}/api/v1/orders.csv?${PERIOD}${query}`, { headers });
      expect([response.status, await response.text()]).toEqual([200, expect.stringContaining("\r\n")]);
      return gateway.calls.findLast(({ action }) => action === "orders.list")?.params;
    };
    gateway.on("orders.list", () => ({ items: [] }));
    expect(await read({ role: "partner", partnerId })).toMatchObject({ partnerId, limit: 100 });
    const ofPartner = `&partner_id=${partnerId}`;
    expect(await read({ role: "admin" }, ofPartner)).toMatchObject({ partnerId, limit: 100 });
    expect(await read({ role: "admin" })).not.toHaveProperty("partnerId");
  });

  it("is for 92 days at most", async () => {
    gateway.on("orders.list", () => ({ items: [] }));
    const headers = { Authorization: `Bearer ${await gateway.identity.token({ role: "admin" })}` };
    const statusOf = async (to: string) => {
      const query = `from=2026-01-01T00:00:00Z&to=${to}`;
      const response = await fetch(`${gateway.url}/api/v1/orders.csv?${query}`, { headers });
      await response.text();
      return response.status;
    };
    expect(await statusOf("2026-04-03T00:00:00Z")).toBe(200);
    expect(await statusOf("2026-04-03T00:00:01Z")).toBe(422);
  });

  it("reads no further page while the client takes none, and none after the client has gone", async () => {
    const large = rowOf({
      reason: "x".repeat(500),
      customer: { id: newId(), name: "A".repeat(FIELD_LENGTH) },
    });
    gateway.on("orders.list", () => ({ items: Array.from({ length: 100 }, () => large), nextCursor: "Mg" }));
    const response = await request();
    // The buffers of both sides hold less than one page of such rows.
    await eventually(() => expect(pagesRead()).toBe(1));
    response.destroy();
    gateway.on("orders.list", () => ({ items: [rowOf()] }));
    // The place of the export is free again when its work has ended.
    await eventually(async () => expect(await textOf(await request())).toContain("\r\n"));
    expect(pagesRead()).toBe(2);
  });

  it("whose first page fails, answers the problem; whose second page fails, breaks the connection", async () => {
    gateway.on("orders.list", () => {
      throw fail("TOO_MANY_MATCHES");
    });
    expect((await request()).statusCode).toBe(422);
    gateway.on("orders.list", ({ params }) => {
      if ((params as { cursor?: string }).cursor) throw fail("SERVICE_UNAVAILABLE");
      return { items: [rowOf()], nextCursor: "Mg" };
    });
    await expect(request().then(textOf)).rejects.toThrow(/aborted|hang up/);
  });

  it("of a user who has one already, is refused until that one ends", async () => {
    let finish = () => {};
    const waiting = new Promise<void>((resolve) => {
      finish = resolve;
    });
    gateway.on("orders.list", async () => {
      await waiting;
      return { items: [] };
    });
    const id = "0198c0de-7f31-7a10-9d2e-0b7c5d1e2f30";
    const first = request(id);
    await eventually(() => expect(pagesRead()).toBe(1));
    expect((await request(id)).statusCode).toBe(429);
    finish();
    const response = await first;
    response.resume();
    await once(response, "end");
    expect((await request(id)).statusCode).toBe(200);
  });
});

describe("GET /me/export/file", () => {
  it("writes all pages as one JSON document, a list of which continues in the next page", async () => {
    const { profile, orders } = exampleOf(exportFile) as ExportedData;
    const [first] = orders;
    const ids = [newId(), newId(), newId()];
    const order = (id: string | undefined) => ({ ...first, id }) as ExportedData["orders"][number];
    const pages: ExportPage[] = [
      { profile, audit: [] },
      { addresses: [], orders: [order(ids[0]), order(ids[1])] },
      { orders: [] },
      { orders: [order(ids[2])] },
      { deliveries: [], notifications: [] },
    ];
    gateway.on("identity.exportPage", ({ params }) => {
      const { number } = params as { number: number };
      return { page: pages[number - 1], isLast: number === pages.length };
    });
    const headers = { Authorization: `Bearer ${await gateway.identity.token({ role: "customer" })}` };
    const response = await fetch(`${gateway.url}/api/v1/me/export/file`, { headers });
    expect(response.headers.get("content-disposition")).toContain("export.json");
    const file = (await response.json()) as Record<string, { id: string }[]>;
    expect(Object.keys(file)).toEqual([
      "profile",
      "audit",
      "addresses",
      "orders",
      "deliveries",
      "notifications",
    ]);
    expect(file.orders?.map(({ id }) => id)).toEqual(ids);
    expect(file).toMatchObject({ profile: { first_name: profile.firstName }, audit: [], notifications: [] });
  });

  it("without a page, is an empty JSON object", () => {
    const text = jsonOfPages();
    expect(text.next({}) + text.end()).toBe("{}");
  });

  it("whose next page cannot be read, breaks the connection", async () => {
    gateway.on("identity.exportPage", ({ params }) => {
      if ((params as { number: number }).number > 1) throw fail("NOT_FOUND");
      return { page: {}, isLast: false };
    });
    const headers = { Authorization: `Bearer ${await gateway.identity.token({ role: "customer" })}` };
    const read = async () => (await fetch(`${gateway.url}/api/v1/me/export/file`, { headers })).text();
    await expect(read()).rejects.toThrow();
  });
});
