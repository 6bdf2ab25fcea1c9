import { request } from "node:http";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { customers, dayPlan, shops } from "../../sandbox/day/plan.ts";
import { httpError, jsonOf, newRoutes, serve, type WebServer } from "../../sandbox/web.ts";

const LIMIT_BYTES = 128 * 1024;

describe("the sandbox's web server", () => {
  let web: WebServer;
  beforeAll(async () => {
    const routes = newRoutes()
      .get("/page", (c) => c.text("a page"))
      .post("/echo", async (c) => c.json(await jsonOf(c)))
      .get("/refused", () => {
        throw httpError(409, "Not now.");
      });
    web = await serve(routes, { host: "127.0.0.1", port: 0 });
  });
  afterAll(() => web.stop());

  /** Sends the body in chunks without telling its length, if `chunks` are given. */
  const send = (method: string, path: string, chunks: readonly string[] = []) =>
    new Promise<{ status: number; headers: Record<string, unknown>; body: string }>((resolve, reject) => {
      const call = request(`${web.url}${path}`, { method }, (response) => {
        let body = "";
        response.setEncoding("utf8").on("data", (text) => {
          body += text;
        });
        response.on("end", () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body }),
        );
      });
      call.on("error", reject);
      for (const chunk of chunks) call.write(chunk);
      call.end();
    });

  it("answers with headers against caches and other sites", async () => {
    for (const path of ["/page", "/nothing", "/refused"]) {
      expect((await send("GET", path)).headers).toMatchObject({
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "referrer-policy": "same-origin",
      });
    }
  });

  it("answers errors as JSON with their status", async () => {
    expect(await send("GET", "/refused")).toMatchObject({ status: 409, body: '{"error":"Not now."}' });
    expect(await send("GET", "/nothing")).toMatchObject({ status: 404 });
    expect(await send("GET", "/%E0%A4")).toMatchObject({ status: 404 });
    expect(await send("POST", "/echo", ["[1]"])).toMatchObject({ status: 400 });
    expect(await send("POST", "/echo", ["{"])).toMatchObject({ status: 400 });
  });

  it("answers a path with a slash at its end, and HEAD without a body", async () => {
    expect(await send("GET", "/page/")).toMatchObject({ status: 200, body: "a page" });
    expect(await send("HEAD", "/page")).toMatchObject({ status: 200, body: "" });
  });

  it("reads a body of unknown length, and none beyond the limit", async () => {
    expect(await send("POST", "/echo", ['{"a":', "1}"])).toMatchObject({ status: 200, body: '{"a":1}' });
    const long = "x".repeat(LIMIT_BYTES);
    expect(await send("POST", "/echo", [long, "x"])).toMatchObject({ status: 413 });
    const body = JSON.stringify({ long });
    expect((await fetch(`${web.url}/echo`, { method: "POST", body })).status).toBe(413);
  });
});

describe("the plan of a day", () => {
  it("is the same for the same seed, and another one for another seed", () => {
    expect(dayPlan(7)).toEqual(dayPlan(7));
    expect(dayPlan(8)).not.toEqual(dayPlan(7));
  });

  it("has an order of each customer, in the order of the day, and all that can happen", () => {
    for (const seed of [0, 1, 7, 1_000_000]) {
      const plan = dayPlan(seed);
      expect(plan.map(({ customer }) => customer).sort((a, b) => a - b)).toEqual([...customers.keys()]);
      expect(plan.map(({ atMinute }) => atMinute)).toEqual(
        plan.map(({ atMinute }) => atMinute).toSorted((a, b) => a - b),
      );
      const turns = plan.map(({ turn }) => turn).filter((turn) => turn !== "none");
      expect(turns.sort()).toEqual(["cancelled", "delayed", "rejected", "released", "released"]);
      for (const { shop, lines, courier, nextCourier, turn } of plan) {
        expect(nextCourier).not.toBe(courier);
        expect(lines.every(({ product }) => product < (shops[shop]?.products.length ?? 0))).toBe(true);
        expect(turn === "none" || shops[shop]?.byHand).toBe(true);
      }
    }
  });
});
