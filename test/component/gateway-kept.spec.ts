import { afterAll, beforeAll, beforeEach, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { eventually } from "../support/eventually.ts";
import { startGateway, type TestGateway } from "../support/gateway.ts";

const LIST = "/api/v1/products";

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startGateway();
});
afterAll(() => gateway.stop());
beforeEach(() => gateway.reset());

type As = { role?: "customer" | "partner" | "admin"; headers?: Record<string, string>; path?: string };
async function get({ role = "customer", headers = {}, path = LIST }: As = {}) {
  const partnerId = role === "partner" ? newId() : undefined;
  const token = await gateway.identity.token({ role, ...(partnerId && { partnerId }) });
  return await fetch(gateway.url + path, { headers: { authorization: `Bearer ${token}`, ...headers } });
}
const asked = () => gateway.calls.filter(({ action }) => action === "partners.listOffers").length;

describe("GET /products", () => {
  it("of two customers, calls the service once and answers both with the same bytes", async () => {
    const [first, second] = [await get(), await get()];
    expect(await second.text()).toBe(await first.text());
    expect(second.headers.get("etag")).toBe(first.headers.get("etag"));
    expect(second.headers.get("content-type")).toBe("application/json; charset=utf-8");
    expect(second.headers.get("x-request-id")).not.toBe(first.headers.get("x-request-id"));
    expect(asked()).toBe(1);
  });

  it("with a client that has the cached answer, answers 304", async () => {
    const etag = (await get()).headers.get("etag") ?? "";
    const again = await get({ headers: { "if-none-match": etag } });
    expect(again.status).toBe(304);
    expect(again.headers.get("etag")).toBe(etag);
    expect(asked()).toBe(1);
  });

  it("of staff, and of other pages, calls the service each time", async () => {
    for (const one of [{ role: "admin" }, { role: "partner" }, { path: `${LIST}?limit=5` }] as As[]) {
      expect([(await get(one)).status, (await get(one)).status]).toEqual([200, 200]);
    }
    expect(asked()).toBe(6);
  });

  it("after an invalidation by the service, calls it again", async () => {
    await get();
    await gateway.broker.broadcast("cache.outdated", { patterns: ["partners.frontPage:**"] });
    await eventually(async () => {
      await get();
      expect(asked()).toBe(2);
    });
  });

  it("after a change through this gateway, calls the service again at once", async () => {
    await get();
    const token = await gateway.identity.token({ role: "admin" });
    const changed = await fetch(`${gateway.url}/api/v1/partners/${newId()}/products/${newId()}`, {
      method: "DELETE",
      headers: { authorization: `Bearer ${token}` },
    });
    expect(changed.status).toBe(204);
    await get();
    expect(asked()).toBe(2);
  });

  it("without a token, is refused although the answer is cached", async () => {
    await get();
    expect((await fetch(gateway.url + LIST)).status).toBe(401);
  });
});
