import { readFileSync } from "node:fs";
import { describe, expect, it } from "@jest/globals";
import { callerFrom } from "../../contracts/claims.ts";
import { roles } from "../../contracts/meta.ts";
import { newId } from "../../lib/ids.ts";

const [sub, sid, partnerId] = [newId(), newId(), newId()];
const built = (more: object) => callerFrom({ sub, sid, ...more });
const keycloak = (roles: unknown, more: object = {}) => built({ realm_access: { roles }, ...more });

describe("callerFrom", () => {
  it("reads the built-in provider's one role", () => {
    expect(built({ role: "customer" })).toEqual({ id: sub, sessionId: sid, role: "customer" });
    expect(built({ role: "partner", partner_id: partnerId, partner_admin: true })).toEqual({
      id: sub,
      sessionId: sid,
      role: "partner",
      partnerId,
      partnerAdmin: true,
    });
  });

  it.each([
    [["customer"], "customer"],
    [["offline_access", "default-roles-waybill", "customer"], "customer"],
    [["customer", "deliverer"], "deliverer"],
    [["admin", "customer", "deliverer"], "admin"],
    [["finance", "customer", "support"], "finance"],
    [["support", "deliverer"], "support"],
  ])("of Keycloak's roles %j, takes %s", (roles, role) => {
    expect(keycloak(roles)).toEqual({ id: sub, sessionId: sid, role });
  });

  it("knows all roles of the realm, which has a group for each except the customer's", () => {
    const realm = JSON.parse(readFileSync("deploy/keycloak/waybill-realm.json", "utf8"));
    const named = realm.roles.realm.map(({ name }: { name: string }) => name);
    expect(named).toEqual(expect.arrayContaining([...roles]));
    const grouped = realm.groups.flatMap(({ realmRoles }: { realmRoles: string[] }) => realmRoles);
    expect(["customer", ...grouped].toSorted()).toEqual([...roles].toSorted());
  });

  it("of Keycloak's staff, takes the named partner, and without one no staff", () => {
    expect(keycloak(["customer", "partner"], { partner_id: partnerId })).toMatchObject({
      role: "partner",
      partnerId,
      partnerAdmin: false,
    });
    expect(keycloak(["customer", "partner"])).toMatchObject({ role: "customer" });
    expect(keycloak(["customer", "partner"], { partner_id: "1" })).toMatchObject({ role: "customer" });
    expect(keycloak(["admin", "customer"], { partner_id: partnerId })).not.toHaveProperty("partnerId");
  });

  it("takes partner_admin only if it is true", () => {
    for (const partner_admin of ["true", 1, {}, undefined]) {
      const caller = keycloak(["partner"], { partner_id: partnerId, partner_admin });
      expect(caller.partnerAdmin).toBe(false);
    }
  });

  it("prefers the claim role to Keycloak's claim", () => {
    expect(built({ role: "customer", realm_access: { roles: ["admin"] } })).toMatchObject({
      role: "customer",
    });
  });

  it("of a session with an id that is no UUID, derives the same id on every node", () => {
    const [one, other] = ["vNUlR3Y-m0FZ_7ngzSXIaXBz", "vNUlR3Y-m0FZ_7ngzSXIaXBy"].map(
      (name) => keycloak(["customer"], { sid: name }).sessionId,
    );
    expect(one).toBe("88d1df68-2991-825b-b9ae-0412aa3156a0");
    expect(other).not.toBe(one);
  });

  it.each([
    ["no roles at all", {}],
    ["roles that are none of ours", { realm_access: { roles: ["offline_access", "Admin", "ADMIN"] } }],
    ["a text for a list", { realm_access: { roles: "admin" } }],
    ["nothing for the claim", { realm_access: undefined }],
    ["a list for the claim", { realm_access: ["admin"] }],
    ["another role than ours", { role: "superuser" }],
    ["a list for the one role", { role: ["admin"] }],
    ["a role of Object's prototype", { role: "constructor" }],
    ["staff of no partner by the one role", { role: "partner" }],
    ["staff of no partner and no customer", { realm_access: { roles: ["partner"] } }],
  ])("refuses %s", (_name, claims) => {
    expect(() => built(claims)).toThrow();
  });

  it("refuses a token without user or session, as a service account's", () => {
    const claims = { realm_access: { roles: ["admin"] } };
    for (const none of [undefined, null, "", 7, ["s"], {}]) {
      expect(() => callerFrom({ ...claims, sub, sid: none })).toThrow();
    }
    expect(() => callerFrom({ ...claims, sid })).toThrow();
    expect(() => callerFrom({ ...claims, sub: "root", sid })).toThrow();
  });
});
