import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import type { Role } from "../../contracts/meta.ts";
import { documentation } from "../../services/api/docs/documentation.ts";
import { endpointOf } from "../../services/api/pipeline/endpoint.ts";
import { routes } from "../../services/api/routes/index.ts";
import type { Route } from "../../services/api/routes/route.ts";
import { type Client, connect } from "../e2e/client.ts";
import { admin, customer, invited, type Kitchen, kitchen } from "../e2e/world.ts";
import { documentedIn, isRepeatable } from "../fuzz/documented.ts";
import { requestsOf, rolesOf, sendMutated } from "../fuzz/mutations.ts";
import type { OpenApi } from "../support/answers.ts";
import { platformApart, type StartedPlatform } from "../support/platform.ts";

/** For each operation; more, for hours, is what npm run test:fuzz does. */
const RUNS = 5;
/** Sign-ups and the like are counted by the minute, and mails by the hour. */
const unlimited = new Map(
  routes.filter(({ limit }) => !limit).map((route) => [`${route.method} ${route.path}`, route]),
);
const { document } = documentation(routes.map(endpointOf), "https://delivery.example.org");
const operations = documentedIn(document as unknown as OpenApi).filter(
  (one) => unlimited.has(one.operation) && isRepeatable(one),
);

let there: StartedPlatform;
let api: Client;
let shop: Kitchen;
let tokens: Record<Role, string>;

beforeAll(async () => {
  there = await platformApart();
  api = await connect(async () => there);
  const root = await admin(api);
  shop = await kitchen(api, root);
  const [me, courier, staff, support, finance, operator] = await Promise.all([
    customer(api),
    invited(api, root, { role: "deliverer" }),
    invited(api, root, { role: "partner", partner_id: shop.partnerId }),
    invited(api, root, { role: "support" }),
    invited(api, root, { role: "finance" }),
    // An operator of the test's own: the requests here can end the session of their sender.
    invited(api, root, { role: "admin" }),
  ]);
  tokens = {
    ...{ customer: me.token, deliverer: courier.token, partner: staff.token },
    ...{ support: support.token, finance: finance.token, admin: operator.token },
  };
});
afterAll(() => Promise.all([shop?.close(), there?.end("SIGTERM")]));

describe("random requests to every operation", () => {
  it.each(operations.map((one) => [one.operation, one] as const))(
    "%s returns only declared responses and no server error",
    async (operation, one) => {
      const roles = rolesOf(unlimited.get(operation) as Route);
      const known = { partner_id: shop.partnerId, product_id: shop.products[0] as string };
      await fc.assert(
        fc.asyncProperty(requestsOf(one, roles, known), async (sent) => {
          expect(await sendMutated(api, one, sent, tokens)).toBeLessThan(500);
        }),
        { numRuns: RUNS },
      );
    },
  );
});
