import { describe, expect, it } from "@jest/globals";
import type { Caller } from "../../contracts/meta.ts";
import { newId } from "../../lib/ids.ts";
import { ownerOf, readerOf, viewerOf } from "../../services/orders/actions/access.ts";

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
