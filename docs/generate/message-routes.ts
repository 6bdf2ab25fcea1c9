import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ServiceBroker } from "moleculer";
import { readSettings, type Settings } from "../../lib/settings/settings.ts";
import { supplyDependencies } from "../../mixins/node-dependencies/node-dependencies.mixin.ts";
import { consumers, serviceSchemas } from "../../platform/services.ts";
import { inProcessMessageBus } from "../../providers/message-bus/index.ts";

/** The services that may send each type: NATS lets a service publish no other. */
export function sendersOf(root: string, types: readonly string[]): Map<string, string[]> {
  const conf = readFileSync(join(root, "deploy/nats/nats.conf"), "utf8");
  const users = [...conf.matchAll(/user: (\w+)\n[\s\S]*?publish: \{ allow: \[([\s\S]*?)\]/g)];
  const subjects = users.map(([, user = "", allowed = ""]) => ({
    user,
    allowed: [...allowed.matchAll(/"waybill\.([a-z_.*]+)"/g)].map(([, subject = ""]) => subject),
  }));
  const matches = (subject: string, type: string) =>
    subject === type || (subject.endsWith(".*") && type.startsWith(subject.slice(0, -1)));
  const sends = (type: string) =>
    subjects.filter(({ allowed }) => allowed.some((subject) => matches(subject, type)));
  return new Map(types.map((type) => [type, sends(type).map(({ user }) => user)]));
}

/** The services whose inbox has a handler for each type. The services are built and not started. */
export async function readersOf(types: readonly string[]): Promise<Map<string, string[]>> {
  const unused = "postgres://127.0.0.1:1/unused";
  const config = {
    ...readSettings({}),
    ...{ POSTGRES_URL_ORDERS: unused, POSTGRES_URL_PARTNERS: unused },
    ...{ POSTGRES_URL_NOTIFICATIONS: unused, POSTGRES_URL_IDENTITY: unused },
    ...{ SEAL_SECRET: "unused", HANDOVER_SECRET: "unused", BRIDGE_SECRET: "unused" },
    ...{ PUBLIC_URL: "http://127.0.0.1", SMTP_URL: "smtp://127.0.0.1:1" },
  } satisfies Settings;
  const broker = new ServiceBroker({ logger: false, skipProcessEventRegistration: true });
  supplyDependencies(broker, () => ({ config, messageBus: inProcessMessageBus({ groups: [] }) }));
  const readers = [...(await serviceSchemas(consumers)).values()].map((schema) => {
    const { name, metadata } = broker.createService(schema);
    return { name, reads: metadata.readsMessages as string[] };
  });
  return new Map(
    types.map((type) => [type, readers.filter(({ reads }) => reads.includes(type)).map(({ name }) => name)]),
  );
}
