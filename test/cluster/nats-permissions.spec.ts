import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { connect, type NatsConnection } from "nats";
import { messages } from "../../contracts/messages.ts";
import { newId } from "../../lib/ids.ts";
import { messageBusConformance } from "../../providers/message-bus/conformance.ts";
import { deployMessageBus, jetStreamMessageBus } from "../../providers/message-bus/jetstream.ts";
import type { NatsServer } from "../servers/nats.ts";
import { natsAs, natsUsers, startShippedNats } from "../support/nats.ts";

const NAMESPACE = "waybill";
const services = ["gateway", "identity", "media", "orders", "partners", "notifications"] as const;
const users = [...services, "operator", "deploy"] as const;
type User = (typeof users)[number];

/** The message types in the outbox of each user. */
const says: Record<User, RegExp> = {
  gateway: /^$/,
  identity: /^(user\..*|notification\.requested|audit\.recorded|alert\.raised)$/,
  media: /^$/,
  orders: /^(order\..*|courier\.(near|duty_changed)|payment\..*|refund\..*|audit\.recorded|alert\.raised)$/,
  partners:
    /^(partner\.(updated|notified)|availability\.changed|notification\.requested|audit\.recorded|alert\.raised)$/,
  notifications:
    /^(notification\.(sent|failed|muted|held|due|dropped|reminder_due)|audit\.recorded|alert\.raised)$/,
  operator: /^$/,
  deploy: /^$/,
};

/** The services that the code of each service calls over the transporter. */
const asks: Record<User, readonly User[]> = {
  gateway: users.filter((user) => user !== "deploy"),
  identity: ["identity", "media", "orders", "notifications"],
  media: ["identity"],
  orders: ["identity", "media", "partners"],
  partners: ["identity", "orders"],
  notifications: ["identity"],
  operator: users.filter((user) => user !== "deploy"),
  deploy: [],
};

let server: NatsServer;
const connections = new Map<User, NatsConnection>();
beforeAll(async () => {
  server = await startShippedNats();
  await deployMessageBus({ nats: natsAs(server, "deploy"), namespace: NAMESPACE });
  for (const user of users) {
    connections.set(user, await connect({ ...natsAs(server, user), reconnect: false }));
  }
});
afterAll(async () => {
  await Promise.all([...connections.values()].map((connection) => connection.close()));
  await server.remove();
});

/** Those of the subjects that the server does not let a user publish to or subscribe to. */
async function denied(user: User, operation: "publish" | "subscription", subjects: readonly string[]) {
  const connection = connections.get(user) as NatsConnection;
  const told = connection.status();
  for (const subject of subjects) {
    if (operation === "publish") connection.publish(subject, "{}", { reply: `_INBOX.${user}.test` });
    else connection.subscribe(subject, { callback: () => undefined }).unsubscribe(1);
  }
  // The server answers in order. No user may publish this subject, so its refusal comes after the answers to all
  // subjects before it.
  const last = `nobodys.${newId()}`;
  connection.publish(last, "{}");
  const refused = new Set<string>();
  for await (const { permissionContext } of told) {
    if (permissionContext?.subject === last) break;
    if (permissionContext) refused.add(`${permissionContext.operation} ${permissionContext.subject}`);
  }
  return subjects.filter((subject) => refused.has(`${operation} ${subject}`));
}

const types = Object.keys(messages);

describe("NATS with the configuration that ships", () => {
  it("refuses connections without a user, with a wrong password, or with another user's", async () => {
    const options = { servers: server.url.replace("nats://", ""), reconnect: false };
    const violation = { code: "AUTHORIZATION_VIOLATION" };
    await expect(connect(options)).rejects.toMatchObject(violation);
    for (const user of natsUsers) {
      await expect(connect({ ...options, user, pass: "guessed" })).rejects.toMatchObject(violation);
      await expect(connect({ ...options, user, pass: "" })).rejects.toMatchObject(violation);
    }
    const crossed = { ...natsAs(server, "orders"), user: "partners", reconnect: false };
    await expect(connect(crossed)).rejects.toMatchObject(violation);
  });

  it.each(users)("lets %s publish its own messages, and no others", async (user) => {
    const subjects = types.map((type) => `${NAMESPACE}.${type}`);
    const foreign = types.filter((type) => !says[user].test(type)).map((type) => `${NAMESPACE}.${type}`);
    expect(await denied(user, "publish", subjects)).toEqual(foreign);
  });

  it.each(users)("lets %s use the transporter in its own name only", async (user) => {
    const kinds = ["INFO", "HEARTBEAT", "DISCONNECT", "DISCOVER", "PING"];
    const targeted = ["RES", "EVENT", "INFO", "DISCOVER", "PING", "PONG"];
    const said = (as: string) => [
      ...kinds.map((kind) => `MOL-${NAMESPACE}.${kind}.${as}.a1`),
      ...targeted.map((kind) => `MOL-${NAMESPACE}.${kind}.${as}.a1.identity.b2`),
    ];
    expect(await denied(user, "publish", said(user))).toEqual(user === "deploy" ? said(user) : []);
    for (const other of [...users, "stranger"]) {
      if (other !== user) expect(await denied(user, "publish", said(other))).toEqual(said(other));
    }
    // The subjects of Moleculer's own transporter, which name no sender.
    const plain = ["INFO", "DISCONNECT", "REQ.a.b", "RES.a.b", "REQB.a.b", "EVENTB.a.b", "INFO.a"];
    const foreign = plain.map((subject) => `MOL-${NAMESPACE}.${subject}`);
    expect(await denied(user, "publish", foreign)).toEqual(foreign);
  });

  it.each(users)("lets %s call the services that its code calls, and no others", async (user) => {
    const requests = users.map((other) => `MOL-${NAMESPACE}.REQ.${user}.a1.${other}.b2`);
    const allowed = asks[user].map((other) => `MOL-${NAMESPACE}.REQ.${user}.a1.${other}.b2`);
    const anybody = user === "gateway" || user === "operator";
    const others = requests.filter((subject) => !allowed.includes(subject));
    expect(await denied(user, "publish", requests)).toEqual(anybody ? [] : others);
    const inAnothersName = users
      .filter((other) => other !== user)
      .map((other) => `MOL-${NAMESPACE}.REQ.${other}.a1.orders.b2`);
    expect(await denied(user, "publish", inAnothersName)).toEqual(inAnothersName);
  });

  it.each(users)("lets %s receive its own packets, and no others", async (user) => {
    const broadcast = ["INFO", "DISCOVER", "DISCONNECT", "HEARTBEAT", "PING"].map(
      (kind) => `MOL-${NAMESPACE}.${kind}.*.*`,
    );
    const own = ["REQ", "RES", "EVENT", "INFO", "PONG"].map(
      (kind) => `MOL-${NAMESPACE}.${kind}.*.*.${user}.a1`,
    );
    const mine = [...(user === "deploy" ? [] : [...broadcast, ...own]), `_INBOX.${user}.>`];
    expect(await denied(user, "subscription", mine)).toEqual([]);
    const foreign = [
      ...users.filter((other) => other !== user).map((other) => `_INBOX.${other}.>`),
      ...users
        .filter((other) => other !== user)
        .flatMap((other) =>
          ["REQ", "RES", "EVENT"].map((kind) => `MOL-${NAMESPACE}.${kind}.*.*.${other}.a1`),
        ),
      ...[">", "_INBOX.>", `${NAMESPACE}.>`, `${NAMESPACE}.order.paid`, `MOL-${NAMESPACE}.>`],
      ...[
        `MOL-${NAMESPACE}.REQ.>`,
        `MOL-${NAMESPACE}.*.*.*.*.*`,
        "$JS.API.>",
        "$JS.ACK.>",
        "$JS.EVENT.>",
        "$SYS.>",
      ],
    ];
    expect(await denied(user, "subscription", foreign)).toEqual(foreign);
  });

  it.each(users)("lets %s make its own changes to the stream, and no others", async (user) => {
    const consumes = ["identity", "orders", "partners", "notifications"].includes(user);
    const mayMake = consumes || user === "deploy";
    const may = [
      "$JS.API.STREAM.INFO.WAYBILL",
      ...(mayMake ? ["$JS.API.STREAM.CREATE.WAYBILL"] : []),
      ...(user === "deploy" ? ["$JS.API.STREAM.UPDATE.WAYBILL"] : []),
      ...(user === "operator"
        ? ["$JS.API.CONSUMER.LIST.WAYBILL", "$JS.API.CONSUMER.INFO.WAYBILL.orders"]
        : []),
      ...(consumes
        ? ["INFO", "DURABLE.CREATE", "MSG.NEXT", "DELETE"].map(
            (what) => `$JS.API.CONSUMER.${what}.WAYBILL.${user}`,
          )
        : []),
      ...(consumes ? [`$JS.ACK.WAYBILL.${user}.1.2.3.4.5`] : []),
    ];
    expect(await denied(user, "publish", may)).toEqual([]);
    const mayNot = [
      ...["STREAM.DELETE", "STREAM.PURGE", "STREAM.UPDATE", "STREAM.SNAPSHOT", "STREAM.RESTORE"],
      ...["STREAM.MSG.DELETE", "STREAM.MSG.GET", "DIRECT.GET", "CONSUMER.LIST", "CONSUMER.NAMES"],
      ...["STREAM.CREATE", "STREAM.PEER.REMOVE", "STREAM.LEADER.STEPDOWN"],
    ].map((what) => `$JS.API.${what}.WAYBILL`);
    const ofOthers = services
      .filter((other) => other !== user)
      .flatMap((other) => [
        ...["DELETE", "INFO", "MSG.NEXT", "DURABLE.CREATE", "CREATE", "PAUSE"].map(
          (what) => `$JS.API.CONSUMER.${what}.WAYBILL.${other}`,
        ),
        `$JS.ACK.WAYBILL.${other}.1.2.3.4.5`,
      ]);
    const rest = [
      "$JS.API.STREAM.CREATE.MINE",
      "$JS.API.STREAM.LIST",
      "$JS.API.INFO",
      "$SYS.REQ.SERVER.PING",
    ];
    const allowed = user === "operator" ? /CONSUMER\.(INFO\.WAYBILL\..*|LIST\.WAYBILL)$/ : /^$/;
    const foreign = [...mayNot, ...ofOthers, `$JS.API.CONSUMER.DELETE.WAYBILL.${user}`, ...rest].filter(
      (subject) => !may.includes(subject) && !allowed.test(subject),
    );
    expect(await denied(user, "publish", foreign)).toEqual(foreign);
  });

  it("lets only the monitor read the server's state", async () => {
    const monitor = await connect({ ...natsAs(server, "monitor"), reconnect: false });
    const answer = await monitor.request("$SYS.REQ.SERVER.PING.CONNZ", "{}", { timeout: 2_000 });
    expect(answer.json<{ data: { num_connections: number } }>().data.num_connections).toBeGreaterThan(5);
    // Of the account that works it sees the figures, and none of the messages.
    const stream = await monitor.request("$JS.API.STREAM.INFO.WAYBILL", "", { timeout: 2_000 });
    expect(stream.json()).toHaveProperty("error");
    await monitor.close();
  });

  it("reports the missing permission to a service", async () => {
    const reports: string[] = [];
    const report = (line: string) => void reports.push(line);
    const stranger = { ...natsAs(server, "orders"), pass: "wrong" };
    const outside = jetStreamMessageBus({ nats: stranger, namespace: NAMESPACE, report });
    const words = "NATS refuses the user orders: check NATS_USER and NATS_PASSWORD";
    const denial = { kind: "denied", message: words };
    await expect(outside.subscribe("orders", [], async () => undefined)).rejects.toMatchObject(denial);
    await expect(outside.publish([])).rejects.toMatchObject(denial);
    expect(await outside.ready()).toBe(false);
    await outside.close();
    expect(reports).toContain(words);
    await expect(deployMessageBus({ nats: stranger, namespace: NAMESPACE })).rejects.toMatchObject({
      kind: "denied",
    });
  });
});

describe("message bus on JetStream, each group as the user of its service", () => {
  messageBusConformance(
    async () => {
      const own = await startShippedNats();
      return {
        connect: async (user) => jetStreamMessageBus({ nats: natsAs(own, user), namespace: NAMESPACE }),
        stop: () => own.remove(),
      };
    },
    { sender: "notifications", groups: ["orders", "partners"] },
  );
});
