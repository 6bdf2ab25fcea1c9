import { describe, expect, it } from "@jest/globals";
import { ServiceBroker } from "moleculer";
import { serviceNames, settingsCatalogue } from "../../lib/settings/catalogue.ts";
import { readSettings, type Settings } from "../../lib/settings/settings.ts";
import { supplyDependencies } from "../../mixins/node-dependencies/node-dependencies.mixin.ts";
import { serviceSchemas } from "../../platform/services.ts";
import { inProcessMessageBus } from "../../providers/message-bus/index.ts";

const CANARY = "canary-0f9c2b7e41d8a635";
/** Everything that an operator sets and that opens something. */
const secret = {
  BRIDGE_SECRET: `${CANARY}-of-the-bridge-0123456789`,
  BRIDGE_SECRET_PREVIOUS: `${CANARY}-of-the-former-bridge-0123456789`,
  HANDOVER_SECRET: `${CANARY}-of-the-handover-0123456789`,
  SEAL_SECRET: `${CANARY}-of-the-seal-0123456789`,
  SEAL_SECRET_PREVIOUS: `${CANARY}-of-the-former-seal-0123456789`,
  ADMIN_PASSWORD: `${CANARY}-of-the-admin`,
  NATS_PASSWORD: `${CANARY}-of-nats`,
  S3_SECRET_KEY: `${CANARY}-of-s3`,
  KEYCLOAK_CLIENT_SECRET: `${CANARY}-of-keycloak`,
  SMTP_URL: `smtp://mail:${CANARY}@127.0.0.1:25`,
  REDIS_URL: `redis://waybill:${CANARY}@127.0.0.1:1/0`,
  MONGO_URL: `mongodb://waybill:${CANARY}@127.0.0.1:1/waybill`,
};
const databases = Object.fromEntries(
  ["ORDERS", "PARTNERS", "NOTIFICATIONS", "IDENTITY"].map((name) => [
    `POSTGRES_URL_${name}`,
    `postgres://waybill:${CANARY}@127.0.0.1:1/${name.toLowerCase()}`,
  ]),
);

const secretSettings = Object.entries(settingsCatalogue).filter(
  ([, setting]) => "secret" in setting && setting.secret,
);

describe("the metadata that a service announces to every node", () => {
  it("is tested with a canary for every secret setting", () => {
    expect(secretSettings.length).toBeGreaterThan(7);
    expect(Object.keys(secret)).toEqual(expect.arrayContaining(secretSettings.map(([name]) => name)));
  });

  it("contains none of the secrets", async () => {
    const config = {
      ...readSettings({}),
      ...secret,
      ...databases,
      PUBLIC_URL: "http://127.0.0.1:3000",
    } as unknown as Settings;
    const messageBus = inProcessMessageBus({ groups: [] });
    const schemas = await serviceSchemas(serviceNames);
    const broker = new ServiceBroker({ logger: false, nodeID: "told", transporter: null as never });
    supplyDependencies(broker, () => ({ config, messageBus }));
    for (const each of schemas.values()) {
      // With those of its mixins, and its actions: these are in a node's packets and in `$node.services`.
      const { name, settings, metadata, schema } = broker.createService(each);
      const told = JSON.stringify({ name, settings, metadata, actions: schema.actions });
      expect(told).toContain(`"name":"${name}"`);
      expect({ name, tells: told.includes(CANARY) }).toEqual({ name, tells: false });
    }
    expect(schemas.size).toBe(serviceNames.length);
    await messageBus.close();
  });
});
