import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { filesOfConfirm, filesThatRan } from "../support/files-that-ran.ts";
import { startGateway, type TestGateway } from "../support/gateway.ts";
import { sampleQuote } from "../support/orders.ts";
import { recordSchemaChecks } from "../support/schema-checks.ts";

const checksDuring = recordSchemaChecks();
let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startGateway();
});
afterAll(() => gateway?.stop());

const GATEWAY = "services/api/";
/** The entry of the operation, which is data. */
const TABLE = "services/api/routes/orders.ts";

/** The other checks are those of examples, which the small services behind this gateway answer. */
const isOfRequest = (fields: string) => fields !== "value";

/** Makes a check of a cart. @returns a function that confirms it */
async function quoted(): Promise<() => Promise<void>> {
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
  const quote = sampleQuote();
  gateway.on("partners.check", () => quote);
  const { check_id } = (await send("/orders/check", cart)).body;
  return async () => expect((await send("/orders/confirm", { check_id, bank_id: newId() })).status).toBe(201);
}

describe("a confirm in the gateway", () => {
  it("runs the files that docs/architecture.md names, and no other", async () => {
    const confirm = await quoted();
    await confirm();
    const named = filesOfConfirm(GATEWAY).filter((file) => file !== TABLE);
    expect(await filesThatRan(GATEWAY, confirm)).toEqual(named);
  });

  it("is checked by a schema once here and once by Orders", async () => {
    const checks = await checksDuring(await quoted());
    const ofProfile = ""; // identity.profile is a call of its own, without fields
    expect(checks.filter(isOfRequest)).toEqual(["check_id, bank_id", ofProfile, "bankId, quote, customer"]);
  });
});

describe("a payment callback in the gateway", () => {
  it("has its path checked by a schema here, and all of it once by Orders", async () => {
    const callback = async () => {
      const url = `${gateway.url}/api/v1/webhooks/payments/${newId()}`;
      const { status } = await fetch(url, { method: "POST", body: "{}" });
      expect(status).toBe(204);
    };
    const checks = await checksDuring(callback);
    expect(checks.filter(isOfRequest)).toEqual(["bank_id", "bankId, headers, body"]);
  });
});
