import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { SignJWT } from "jose";
import { type Middleware, ServiceBroker } from "moleculer";
import { grpcBridge } from "moleculer-grpc";
import { actions as contracts } from "../../contracts/actions.ts";
import { exampleOf } from "../../contracts/documentation.ts";
import type { Rule } from "../../contracts/schema.ts";
import { newId } from "../../lib/ids.ts";
import { tokenIssuer } from "../../lib/settings/issuer.ts";
import { readSettings } from "../../lib/settings/settings.ts";
import { AUDIENCE, TOKEN_TYPE } from "../../mixins/caller/token-verifier.ts";
import { brokerOptions } from "../../platform/broker-options.ts";
import { grpcBinding } from "../../platform/grpc.ts";
import { callMetrics } from "../../platform/operations/call-metrics.ts";
import { type Topology, topology } from "../../platform/topology.ts";
import { createDatabase, patientSettings, type TestDatabase } from "../support/postgres.ts";

/**
 * The actions that answer without a caller, with the reason. A new one is added here with its reason. Every other
 * action refuses, whatever its meta says about the caller.
 */
const OPEN: Record<string, string> = {
  "identity.register": "nobody has an account before",
  "identity.confirm": "the code is the proof",
  "identity.resendCode": "answers the same for every address",
  "identity.signIn": "the password is the proof",
  "identity.refresh": "the refresh token is the proof",
  "identity.forgotPassword": "answers the same for every address",
  "identity.resetPassword": "the code is the proof",
  "identity.undoEmailChange": "the token of the mail is the proof",
  "identity.acceptInvitation": "the invitation's token is the proof",
  "identity.jwks": "public keys, which a caller is verified by",
  "identity.grpcClientKeys": "for the nodes that serve gRPC: hashes of keys, with which no call can be made",
  "orders.track": "the link's token is the proof; it shows no more than a first name",
  "orders.receivePayment": "the bank's signature is the proof",
  "partners.receiveCallback": "the partner's signature is the proof",
  // Between services, where no customer is there to ask: closed to all other clients by the bridge's credential and by
  // the users of NATS, and never published by the gateway.
  "orders.applyPartnerCallback":
    "for Partners, which has verified the signature; only it may ask that over NATS",
  "orders.state":
    "for Partners, before it acts on old news: the state of an order and nothing of its customer",
  "orders.events":
    "for the gateway, which reads once for the streams of all users; moves of orders without customers' data",
  "partners.reserve": "for Orders, at prices that are checked again; over the bridge",
  "partners.release": "for Orders, also when a deadline passes; over the bridge",
};
const BETWEEN_SERVICES = [
  "identity.grpcClientKeys",
  "notifications.exportPage",
  "orders.applyPartnerCallback",
  "orders.events",
  "orders.exportPage",
  "orders.openOf",
  "orders.state",
  "partners.release",
  "partners.reserve",
];

const SERVICES = ["identity", "media", "orders", "partners", "notifications"] as const;
const PROTO_DIR = fileURLToPath(new URL("../../proto", import.meta.url));

const dataDir = mkdtempSync(join(tmpdir(), "waybill-callerless-"));
const forger = generateKeyPairSync("ec", { namedCurve: "P-256" });
let databases: TestDatabase[];
let platform: Topology;
let config: ReturnType<typeof settings>;
const strangers: Record<"over the transporter" | "over the bridge", ServiceBroker> = {} as never;
let offered: { name: string; visibility: string; example: unknown }[];

function settings(urls: string[]) {
  const [orders = "", partners = "", notifications = "", identity = ""] = urls;
  return {
    ...readSettings({ DATA_DIR: dataDir }),
    SERVICES: [...SERVICES],
    LOG_LEVEL: "fatal" as const,
    ...patientSettings,
    POSTGRES_URL_ORDERS: orders,
    POSTGRES_URL_PARTNERS: partners,
    POSTGRES_URL_NOTIFICATIONS: notifications,
    POSTGRES_URL_IDENTITY: identity,
    PUBLIC_URL: "http://waybill.test",
    SMTP_URL: "smtp://127.0.0.1:9",
    BRIDGE_SECRET: "bridge-secret-of-the-tests-0123456789",
    HANDOVER_SECRET: "handover-secret-of-the-tests-0123456",
    SEAL_SECRET: "seal-secret-of-the-tests-0123456789ab",
  };
}

beforeAll(async () => {
  databases = await Promise.all(
    (["orders", "partners", "notifications", "identity"] as const).map(createDatabase),
  );
  config = settings(databases.map(({ url }) => url));
  platform = await topology(config, callMetrics(), () => undefined);
  const stranger = (nodeID: string, middlewares: Middleware[]) =>
    new ServiceBroker({
      ...brokerOptions({
        ...{ nodeID, namespace: platform.namespace, transporter: "Fake", logLevel: "fatal", json: false },
        requestTimeoutMs: 30_000,
        middlewares,
      }),
      circuitBreaker: { enabled: false },
      logger: false,
    });
  // Both hold what opens the doors between nodes: what is left is whether the services ask who calls.
  strangers["over the transporter"] = stranger("stranger-1", []);
  strangers["over the bridge"] = stranger("stranger-2", [
    grpcBridge({ ...grpcBinding, secret: config.BRIDGE_SECRET, protoDir: PROTO_DIR }),
  ]);
  await platform.start();
  await Promise.all(Object.values(strangers).map((broker) => broker.start()));
  await Promise.all(Object.values(strangers).map((broker) => broker.waitForServices([...SERVICES])));

  const registered = platform.brokers.flatMap((broker) =>
    (broker.registry.getActionList({ onlyLocal: true, withEndpoints: false }) as unknown as Listed[])
      .filter(({ name }) => !name.startsWith("$"))
      .map(({ name, action }) => ({ name, visibility: action.visibility ?? "published" })),
  );
  offered = registered
    .filter(({ visibility }) => visibility === "published" || visibility === "public")
    .map((action) => {
      const { params } = contracts[action.name as keyof typeof contracts] ?? {};
      return { ...action, example: params && exampleOf(params as Rule) };
    });
});
afterAll(async () => {
  await Promise.all(Object.values(strangers).map((broker) => broker.stop()));
  await platform?.stop();
  await Promise.all(databases.map((database) => database.drop()));
  rmSync(dataDir, { recursive: true, force: true });
});

interface Listed {
  name: string;
  action: { visibility?: string };
}

/** All values that code could trust by mistake instead of the token. */
function forgedMeta() {
  const admin = { id: newId(), role: "admin", sessionId: newId(), partnerId: newId(), partnerAdmin: true };
  return { user: admin, caller: admin, locals: { caller: admin }, role: "admin", userId: admin.id };
}

/** As identity signs one, but by a key of the forger. */
function forgedToken(): Promise<string> {
  return new SignJWT({ sid: newId(), role: "admin" })
    .setProtectedHeader({ alg: "ES256", typ: TOKEN_TYPE, kid: newId() })
    .setSubject(newId())
    .setIssuer(tokenIssuer(config))
    .setAudience(AUDIENCE)
    .setIssuedAt()
    .setExpirationTime("5m")
    .sign(forger.privateKey);
}

async function outcomes(from: ServiceBroker, meta: object): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const { name, example } of offered) {
    const outcome = await from.call(name, example, { meta }).then(
      () => "answered",
      ({ type, message }) => (type as string | undefined) ?? String(message),
    );
    found.set(name, outcome);
  }
  return found;
}

describe("every action that other services can call", () => {
  it("has a contract, and every contract has an action", () => {
    expect(offered.filter(({ example }) => example === undefined)).toEqual([]);
    const names = new Set(offered.map(({ name }) => name));
    // Called on its own node only, by the launcher.
    const kept = ["identity.createAdmin"];
    expect(Object.keys(contracts).filter((name) => !names.has(name))).toEqual(kept);
    expect(Object.keys(OPEN).filter((name) => !names.has(name))).toEqual([]);
    expect(offered.length).toBeGreaterThan(85);
  });

  it("if for services only, is not published", () => {
    const inner = offered.filter(({ visibility }) => visibility === "public").map(({ name }) => name);
    expect(inner.sort()).toEqual(BETWEEN_SERVICES);
  });

  it.each(["over the transporter", "over the bridge"] as const)(
    "called %s with a forged meta and no token, refuses unless the table says why not",
    async (way) => {
      const found = await outcomes(strangers[way], forgedMeta());
      const refused = [...found].filter(([, outcome]) => outcome === "UNAUTHENTICATED").map(([name]) => name);
      // A refresh token that is none of ours is refused by the same name.
      const open = [...found.keys()].filter((name) => !refused.includes(name) || name === "identity.refresh");
      expect(open.sort()).toEqual(Object.keys(OPEN).sort());
      // Nothing was answered for want of a good question.
      for (const [name, outcome] of found) expect([name, outcome]).not.toEqual([name, "VALIDATION_ERROR"]);
    },
  );

  it.each(["over the transporter", "over the bridge"] as const)(
    "called %s with a forged token, refuses, also where no token is needed",
    async (way) => {
      const token = await forgedToken();
      const found = await outcomes(strangers[way], { ...forgedMeta(), token });
      expect([...found].filter(([, outcome]) => outcome !== "UNAUTHENTICATED")).toEqual([]);
    },
  );
});
