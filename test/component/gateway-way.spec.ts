import { Session } from "node:inspector/promises";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { startGateway, type TestGateway } from "../support/gateway.ts";
import { root, text } from "../support/manifests.ts";

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startGateway();
});
afterAll(() => gateway?.stop());

/** The files of the gateway that the page names for a confirm, without the tables of operations, which are data. */
function namedFiles(): string[] {
  const page = text("docs/architecture.md");
  const way = page.slice(
    page.indexOf("### A customer confirms an order"),
    page.indexOf("**`orders.confirm` by gRPC**"),
  );
  const files = [...way.matchAll(/`(services\/api\/[^`]+\.ts)`/g)].map(([, file]) => file as string);
  return files.filter((file) => file !== "services/api/routes/orders.ts").toSorted();
}

/** The files of the gateway with a function that ran meanwhile. */
async function filesThatRan(work: () => Promise<void>): Promise<string[]> {
  const session = new Session();
  session.connect();
  try {
    await session.post("Profiler.enable");
    await session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: false });
    // The first answer has the functions of the start as well.
    await session.post("Profiler.takePreciseCoverage");
    await work();
    const { result } = await session.post("Profiler.takePreciseCoverage");
    const ran = result.filter(({ functions }) => functions.some(({ ranges }) => (ranges[0]?.count ?? 0) > 0));
    const files = ran.map(({ url }) => url.slice(url.indexOf(root) + root.length + 1));
    return [...new Set(files.filter((file) => file.startsWith("services/api/")))].toSorted();
  } finally {
    session.disconnect();
  }
}

describe("a confirm in the gateway", () => {
  it("runs the files that docs/architecture.md names, and no other", async () => {
    const token = await gateway.identity.token();
    const send = async (path: string, body: unknown) => {
      const response = await fetch(`${gateway.url}/api/v1${path}`, {
        method: "POST",
        headers: {
          authorization: `Bearer ${token}`,
          "content-type": "application/json",
          "idempotency-key": newId(),
        },
        body: JSON.stringify(body),
      });
      return { status: response.status, body: (await response.json()) as Record<string, unknown> };
    };
    const address = { line1: "Main Street 1", city: "Berlin", postal_code: "10115", country: "DE" };
    const cart = { partner_id: newId(), lines: [{ product_id: newId(), quantity: 1 }], address };
    const { check_id } = (await send("/orders/check", cart)).body;
    const confirm = async () =>
      expect((await send("/orders/confirm", { check_id, bank_id: newId() })).status).toBe(201);
    await confirm();
    const ran = await filesThatRan(confirm);
    expect(ran).toEqual(namedFiles());
  });
});
