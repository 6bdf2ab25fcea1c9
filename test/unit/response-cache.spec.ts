import { describe, expect, it } from "@jest/globals";
import { cacheKeyOf, responseCache } from "../../services/api/answers/response-cache.ts";
import { type Endpoint, endpointOf } from "../../services/api/pipeline/endpoint.ts";
import { routes } from "../../services/api/routes/index.ts";

function stage() {
  const time = { nowMs: 1_000_000 };
  const kept = responseCache({ now: () => time.nowMs });
  let made = 0;
  const make = async () => {
    made += 1;
    return { body: Buffer.from(`answer ${made}`), etag: `"${made}"` };
  };
  return { time, kept, make, read: async (key: string) => String((await kept.get(key, make)).body) };
}

describe("cached responses", () => {
  it("to the same request, are computed once until they expire", async () => {
    const { time, read, kept } = stage();
    expect([await read("partners.listOffers a"), await read("partners.listOffers a")]).toEqual([
      "answer 1",
      "answer 1",
    ]);
    expect(await read("partners.listOffers b")).toBe("answer 2");
    time.nowMs += 4_999;
    expect(await read("partners.listOffers a")).toBe("answer 1");
    time.nowMs += 1;
    expect(await read("partners.listOffers a")).toBe("answer 3");
    expect(kept.counts()).toEqual({ hit: 2, miss: 3 });
  });

  it("of a changed service, are computed again, and of another are not", async () => {
    const { read, kept } = stage();
    await read("partners.listOffers a");
    await read("orders.list a");
    kept.invalidate("partners.frontPage");
    for (let time = 0; time < 2; time++) expect(await read("partners.listOffers a")).toBe("answer 3");
    expect(await read("orders.list a")).toBe("answer 2");
  });

  it("requested before a change and computed after it, are returned and not cached", async () => {
    const { kept, read, make } = stage();
    const late = kept.get("partners.listOffers a", async () => {
      kept.invalidate("partners.updateProduct");
      return await make();
    });
    expect(String((await late).body)).toBe("answer 1");
    expect(await read("partners.listOffers a")).toBe("answer 2");
  });

  it("that fail, are not cached", async () => {
    const { kept, read } = stage();
    await expect(
      kept.get("partners.listOffers a", () => Promise.reject(new Error("away"))),
    ).rejects.toThrow();
    expect(await read("partners.listOffers a")).toBe("answer 1");
  });

  it("are limited: the oldest is dropped first", async () => {
    const { read } = stage();
    await read("partners.listOffers first");
    for (let index = 0; index < 500; index += 1) await read(`partners.listOffers ${index}`);
    expect(await read("partners.listOffers 499")).toBe("answer 501");
    expect(await read("partners.listOffers first")).toBe("answer 502");
  });
});

describe("the responses that are cached", () => {
  const endpoint = routes.filter(({ path }) => path === "/products").map(endpointOf)[0] as Endpoint;

  it("are those of the front page, for all users with the same view", () => {
    expect(cacheKeyOf(endpoint, "customer", {})).toBe("partners.listOffers ");
    expect(cacheKeyOf(endpoint, "deliverer", {})).toBe("partners.listOffers ");
    expect(cacheKeyOf(endpoint, "customer", { partnerId: "p" })).toBe("partners.listOffers p");
  });

  it.each(["partner", "admin"] as const)("do not include those of a %s, with a larger view", (role) => {
    expect(cacheKeyOf(endpoint, role, {})).toBeUndefined();
  });

  it.each([{ q: "soup" }, { cursor: "x" }, { limit: 5 }])(
    "do not include those of another page: %j",
    (params) => {
      expect(cacheKeyOf(endpoint, "customer", params)).toBeUndefined();
    },
  );

  it("do not include those of another operation or without a caller", () => {
    const others = routes.filter(({ action }) => action !== "partners.listOffers").map(endpointOf);
    expect(others.filter((one) => cacheKeyOf(one, "customer", {}) !== undefined)).toEqual([]);
    expect(cacheKeyOf(endpoint, undefined, {})).toBeUndefined();
  });
});
