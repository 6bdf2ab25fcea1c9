import { beforeEach, describe, expect, it } from "@jest/globals";
import type { Caller } from "../../contracts/meta.ts";
import { newId } from "../../lib/ids.ts";
import {
  actorOf,
  givenDeliverer,
  namesOf,
  ownerOf,
  photoExists,
  readerOf,
  requireDeliverer,
  viewerOf,
} from "../../services/orders/actions/access.ts";

const [id, partnerId] = [newId(), newId()];
const caller = (role: Caller["role"], more: Partial<Caller> = {}) =>
  ({ id, sessionId: newId(), role, ...more }) as Caller;
const forbidden = expect.objectContaining({ type: "FORBIDDEN" });

describe("the orders that a caller may read, change and list", () => {
  it("as an admin, are all", () => {
    const admin = caller("admin");
    expect(readerOf(admin)).toEqual({ role: "anybody" });
    expect(viewerOf(admin)).toEqual({ role: "anybody" });
    expect(ownerOf(admin)).toEqual({ role: "admin" });
  });

  it.each([
    ["customer", false],
    ["deliverer", true],
  ] as const)("as a %s, are the caller's own; those in the pool count as a deliverer's", (role, carries) => {
    // A partner in the token of such a role means nothing.
    for (const one of [caller(role), caller(role, { partnerId })]) {
      expect(readerOf(one)).toEqual({ role: "person", id, carries });
      expect(viewerOf(one)).toEqual({ role, id });
      expect(ownerOf(one)).toEqual({ role, id });
    }
  });

  it("as staff, are those of the partner, and one's own to read", () => {
    const staff = caller("partner", { partnerId });
    expect(readerOf(staff)).toEqual({ role: "person", id, carries: false, partnerId });
    expect(viewerOf(staff)).toEqual({ role: "partner", partnerId, id });
    expect(ownerOf(staff)).toEqual({ role: "partner", partnerId, id });
  });

  it("as staff without a partner, are none", () => {
    for (const ordersOf of [readerOf, viewerOf, ownerOf]) {
      expect(() => ordersOf(caller("partner"))).toThrow(forbidden);
    }
  });
});

describe("a lookup in another service", () => {
  const asked: unknown[][] = [];
  const contextOf = (role: Caller["role"], params: object, answer: unknown) =>
    ({
      ...{ params, locals: { caller: caller(role) }, broker: { options: { requestTimeout: 0 } } },
      call: async (...question: unknown[]) => {
        asked.push(question);
        if (answer instanceof Error) throw answer;
        return answer;
      },
    }) as never;
  const users = (count: number) =>
    Array.from({ length: count }, (_, index) => ({
      ...{ id: `id${index}`, firstName: "Ada", lastName: "B".repeat(100), email: `${index}@example.com` },
    }));
  const timeLimit = { timeout: 500 };
  beforeEach(() => void asked.splice(0));

  it("of a deliverer by id, is for operators, and finds deliverers only", async () => {
    const check = (role: Caller["role"], answer: unknown, userId: string | undefined = id) =>
      requireDeliverer(contextOf(role, {}, answer), userId, "delivererId");
    await check("admin", { role: "deliverer" });
    expect(asked).toEqual([["identity.findRole", { userId: id }, timeLimit]]);
    await expect(check("admin", { role: "customer" })).rejects.toMatchObject({ type: "VALIDATION_ERROR" });
    await expect(check("admin", {})).rejects.toMatchObject({ type: "VALIDATION_ERROR" });
    await expect(check("admin", new Error("away"))).rejects.toMatchObject({ type: "SERVICE_UNAVAILABLE" });
    await expect(check("deliverer", { role: "deliverer" })).rejects.toMatchObject({ type: "FORBIDDEN" });
    asked.splice(0);
    await requireDeliverer(contextOf("admin", {}, {}), undefined, "delivererId");
    expect(asked).toEqual([]);
  });

  it("of a deliverer by name, finds the one who is meant, or lists five", async () => {
    const given = (params: object, items: object[] = [], role: Caller["role"] = "admin") =>
      givenDeliverer(contextOf(role, params, { items, role: "deliverer" }));
    expect(await given({ courier: "Ada" }, users(1))).toBe("id0");
    const filter = { role: "deliverer", state: "active", q: "Ada", limit: 5 };
    expect(asked).toEqual([["identity.users", filter, timeLimit]]);
    expect(await given({ delivererId: id })).toBe(id);
    expect(asked[1]).toEqual(["identity.findRole", { userId: id }, timeLimit]);
    expect(await given({})).toBeUndefined();
    const foreign = contextOf("admin", { delivererId: id }, { role: "customer" });
    await expect(givenDeliverer(foreign)).rejects.toMatchObject({ type: "VALIDATION_ERROR" });
    const refused = (...args: Parameters<typeof given>) =>
      given(...args).then(
        () => undefined,
        ({ data }) => data.errors[0],
      );
    expect(await refused({ courier: "Ada" })).toMatchObject({ rule: "unknown" });
    expect(await refused({ courier: "Ada", delivererId: id })).toMatchObject({ rule: "exclusive" });
    const ambiguous = await refused({ courier: "Ada" }, users(5));
    expect(ambiguous).toMatchObject({ rule: "ambiguous" });
    expect(ambiguous.message).toMatch(/^Write more of the name: Ada B+ <0@example\.com>, Ada/);
    expect(ambiguous.message).toHaveLength(500);
    await expect(given({ courier: "Ada" }, users(1), "support")).rejects.toMatchObject({ type: "FORBIDDEN" });
    await expect(
      givenDeliverer(contextOf("admin", { courier: "Ada" }, new Error("away"))),
    ).rejects.toMatchObject({ type: "SERVICE_UNAVAILABLE" });
  });

  it("of names, is made for at least one user, and has none while Identity is away", async () => {
    const items = [{ id, name: "Ada B" }];
    expect(await namesOf(contextOf("admin", {}, { items }), [])).toEqual(new Map());
    expect(asked).toEqual([]);
    expect(await namesOf(contextOf("admin", {}, { items }), [id])).toEqual(new Map([[id, "Ada B"]]));
    expect(asked).toEqual([["identity.names", { userIds: [id] }, timeLimit]]);
    expect(await namesOf(contextOf("admin", {}, new Error("away")), [id])).toEqual(new Map());
  });

  it("of a photo, is for deliverers, and is not made without one", async () => {
    const [orderId, photoId] = [newId(), newId()];
    const exists = (
      answer: unknown,
      params: object = { orderId, photoId },
      role: Caller["role"] = "deliverer",
    ) => photoExists(contextOf(role, params, answer));
    expect(await exists({ exists: true })).toBe(true);
    expect(await exists({ exists: false })).toBe(false);
    expect(asked[0]).toEqual(["media.hasProof", { orderId, photoId }, timeLimit]);
    asked.splice(0);
    expect(await exists({ exists: false }, { orderId })).toBe(true);
    expect(asked).toEqual([]);
    await expect(exists(new Error("away"))).rejects.toMatchObject({ type: "SERVICE_UNAVAILABLE" });
    await expect(exists({}, {}, "customer")).rejects.toMatchObject({ type: "FORBIDDEN" });
  });

  it("names the caller as an actor, each operator as one", () => {
    expect(actorOf(caller("admin"))).toMatchObject({ kind: "admin", name: id });
    expect(actorOf(caller("support"))).toMatchObject({ kind: "admin", name: id });
    expect(actorOf(caller("deliverer"))).toMatchObject({ kind: "deliverer", name: id });
  });
});
