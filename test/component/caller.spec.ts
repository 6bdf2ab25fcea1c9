import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { type Middleware, ServiceBroker } from "moleculer";
import type { Ctx } from "../../contracts/meta.ts";
import { newId } from "../../lib/ids.ts";
import { callerOf } from "../../mixins/caller/caller.ts";
import { eventually } from "../support/eventually.ts";
import { testIdentity } from "../support/tokens.ts";

const identity = testIdentity();
const namespace = newId();

function broker(nodeID: string, middleware: Middleware = identity.middleware()): ServiceBroker {
  return new ServiceBroker({
    nodeID,
    namespace,
    transporter: "Fake",
    logger: false,
    skipProcessEventRegistration: true,
    middlewares: [middleware],
  });
}

const edge = broker("edge");
const back = broker("back");
const keys = broker("keys");

beforeAll(async () => {
  keys.createService(identity.service);
  back.createService({
    name: "back",
    actions: {
      who: (ctx: Ctx<unknown>) => callerOf(ctx),
      nested: (ctx: Ctx<unknown>) => ctx.call("back.who", {}),
      open: (ctx: Ctx<unknown>) => ({ caller: ctx.locals.caller?.id ?? "nobody" }),
      adminOnly: (ctx: Ctx<unknown>) => callerOf(ctx, "admin"),
    },
  });
  await Promise.all([edge.start(), back.start(), keys.start()]);
  await edge.waitForServices(["back", "identity"]);
  await back.waitForServices(["identity"]);
});
afterAll(() => Promise.all([edge.stop(), back.stop(), keys.stop()]));

const ask = (action: string, token?: string) =>
  edge.call(action, {}, token === undefined ? {} : { meta: { token } });

describe("the caller middleware", () => {
  it("with a valid token, gives an action on another node the caller, also in a nested call", async () => {
    const [id, sessionId, partnerId] = [newId(), newId(), newId()];
    const caller = { id, sessionId, role: "partner", partnerId, partnerAdmin: true } as const;
    const token = await identity.token(caller);
    await expect(ask("back.who", token)).resolves.toEqual(caller);
    await expect(ask("back.nested", token)).resolves.toEqual(caller);
  });

  it("on a node that has verified no token yet, verifies one while Identity is away", async () => {
    const [late, ownKeys] = [broker("late"), broker("own-keys")];
    ownKeys.createService(identity.service);
    late.createService({ name: "late", actions: { who: (ctx: Ctx<unknown>) => callerOf(ctx) } });
    await Promise.all([late.start(), ownKeys.start()]);
    await late.waitForServices(["identity"]);
    await Promise.all([ownKeys.stop(), keys.stop()]);
    try {
      const id = newId();
      const token = await identity.token({ id, role: "customer" });
      const who = () => late.call("late.who", {}, { meta: { token } });
      await eventually(async () => await expect(who()).resolves.toMatchObject({ id }));
    } finally {
      await keys.start();
      await late.stop();
    }
  });

  it("without a token, leaves the decision to the action", async () => {
    await expect(ask("back.open")).resolves.toEqual({ caller: "nobody" });
    await expect(ask("back.who")).rejects.toMatchObject({ type: "UNAUTHENTICATED", code: 401 });
  });

  it("with an invalid token, refuses the call even of an open action", async () => {
    await expect(ask("back.open", "rubbish")).rejects.toMatchObject({ type: "UNAUTHENTICATED" });
  });

  it("ignores a caller that is claimed in meta", async () => {
    const meta = { caller: { id: newId(), role: "admin" }, locals: { caller: { role: "admin" } } };
    await expect(edge.call("back.adminOnly", {}, { meta })).rejects.toMatchObject({
      type: "UNAUTHENTICATED",
    });
    const token = await identity.token({ role: "customer" });
    await expect(ask("back.adminOnly", token)).rejects.toMatchObject({ type: "FORBIDDEN", code: 403 });
  });

  it("after session.revoked was broadcast, refuses the session's tokens on every node", async () => {
    const sessionId = newId();
    const [first, second] = [await identity.token({ sessionId }), await identity.token({ sessionId })];
    await ask("back.who", first);
    await keys.broadcast("session.revoked", { sessionId });
    await eventually(() => expect(ask("back.who", first)).rejects.toMatchObject({ type: "SESSION_REVOKED" }));
    await expect(ask("back.who", second)).rejects.toMatchObject({ type: "SESSION_REVOKED" });
  });
});
