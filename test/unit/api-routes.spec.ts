import { describe, expect, it } from "@jest/globals";
import { type ActionName, actions } from "../../contracts/actions.ts";
import { formerNames } from "../../contracts/orders.ts";
import { contractOf } from "../../services/api/actions/contract.ts";
import { endpointOf } from "../../services/api/pipeline/endpoint.ts";
import { routes } from "../../services/api/routes/index.ts";
import { covered, uncovered } from "../e2e/covered.ts";

/** Actions that services call, the operators' shell, or no client: no route leads to them. */
const inside: ActionName[] = [
  "identity.createAdmin",
  "identity.findRole",
  "identity.grpcClientKeys",
  "identity.jwks",
  "identity.names",
  "identity.setAvatar",
  "media.hasProof",
  "orders.applyPartnerCallback",
  "orders.state",
  "orders.openOf",
  "orders.exportPage",
  "notifications.exportPage",
  // Behind the streams of the gateway.
  "orders.events",
  "partners.release",
  "partners.reserve",
  // For gRPC clients only.
  ...Object.values(formerNames),
  // Behind operations of the gateway's own.
  "orders.confirm",
  "orders.reopenCheckout",
  "partners.check",
  "orders.deadLetters",
  "orders.replayDeadLetter",
  "orders.dropDeadLetter",
  "orders.dropDeadLetters",
  "orders.replayDeadLetters",
  "orders.undelivered",
  "partners.undelivered",
  "notifications.undelivered",
  "identity.undelivered",
  "partners.orderWebhooks",
  "partners.deadLetters",
  "partners.replayDeadLetter",
  "partners.dropDeadLetter",
  "partners.dropDeadLetters",
  "partners.replayDeadLetters",
  "notifications.deadLetters",
  "notifications.replayDeadLetter",
  "notifications.dropDeadLetter",
  "notifications.dropDeadLetters",
  "notifications.replayDeadLetters",
  "identity.deadLetters",
  "identity.replayDeadLetter",
  "identity.dropDeadLetter",
  "identity.dropDeadLetters",
  "identity.replayDeadLetters",
  "identity.exportPage",
  "identity.user",
  "identity.userSessions",
  "identity.grpcClients",
  "identity.createGrpcClient",
  "identity.revokeGrpcClient",
  "notifications.devicesOf",
];

describe("route tables", () => {
  const endpoints = routes.map(endpointOf);

  it("have a different name for each operation", () => {
    const names = endpoints.map(({ operation }) => operation);
    expect(names.toSorted()).toEqual([...new Set(names)].toSorted());
  });

  it("and the inner actions together contain every action", () => {
    const outside = new Set<string>(routes.map(({ action }) => action));
    const missing = (Object.keys(actions) as ActionName[]).filter(
      (name) => !outside.has(name) && !inside.includes(name),
    );
    expect(missing).toEqual([]);
    expect(inside.filter((name) => outside.has(name))).toEqual([]);
  });

  it("of mutating POSTs, take an Idempotency-Key unless they answer secrets or cannot be repeated", () => {
    const without = endpoints.filter(
      ({ route, idempotencyKey }) => route.method === "POST" && idempotencyKey === "never",
    );
    expect(without.map(({ route }) => route.path).toSorted()).toEqual([
      "/deliveries/position",
      "/email/undo",
      "/invitations/accept",
      "/orders/check",
      "/orders/{order_id}/location",
      "/password/forgot",
      "/password/reset",
      "/sessions",
      "/sessions/refresh",
      "/users",
      "/users/confirm",
      "/users/confirm/resend",
      "/webhooks/partners/{partner_id}",
      "/webhooks/payments/{bank_id}",
    ]);
    const required = endpoints.filter(({ idempotencyKey }) => idempotencyKey === "required");
    expect(required.map(({ route }) => route.path)).toEqual(["/orders/confirm"]);
  });

  it("without a sign-in, are a short known list", () => {
    const open = routes
      .filter(({ access }) => access === "public")
      .map(({ method, path }) => `${method} ${path}`);
    expect(open.toSorted()).toEqual([
      "GET /track/{token}",
      "POST /email/undo",
      "POST /invitations/accept",
      "POST /password/forgot",
      "POST /password/reset",
      "POST /sessions",
      "POST /sessions/refresh",
      "POST /users",
      "POST /users/confirm",
      "POST /users/confirm/resend",
    ]);
  });

  it("of PATCH on a versioned resource, take If-Match", () => {
    const patches = endpoints.filter(({ route }) => route.method === "PATCH");
    expect(patches.filter(({ versioned }) => !versioned)).toEqual([]);
  });

  it("of PUT and PATCH, are not retried by the broker, because a repeat would undo later writes", () => {
    const writes = endpoints.filter(({ route }) => ["PUT", "PATCH"].includes(route.method));
    const repeated = writes.filter(({ route }) => contractOf(route.action).idempotent);
    expect(writes.length).toBeGreaterThan(10);
    expect(repeated.map(({ operation }) => operation)).toEqual([]);
  });

  it("that contradict their contract, are refused", () => {
    const [route] = routes;
    if (!route) throw new Error("no routes");
    expect(() => endpointOf({ ...route, path: "/users/{nobody}" })).toThrow(/knows no \{nobody\}/);
  });
});

describe("scenarios over HTTP", () => {
  it("together show every operation in its success", () => {
    const shown = [...Object.values(covered).flat(), ...uncovered].toSorted();
    expect(shown).toEqual(routes.map(({ method, path }) => `${method} ${path}`).toSorted());
  });
});
