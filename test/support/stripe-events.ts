import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const FIXTURES = join(import.meta.dirname, "../fixtures/stripe");

/** An event of API version 2026-10-28 with the fields and values of Stripe's published examples. */
export function stripeFixture(type: string): { id: string; data: { object: Record<string, unknown> } } {
  return JSON.parse(readFileSync(join(FIXTURES, `${type}.json`), "utf8"));
}

/** The same event about something else. @param id of the event */
export function stripeEvent(type: string, id: string, object: Record<string, unknown>): string {
  const fixture = stripeFixture(type);
  return JSON.stringify({ ...fixture, id, data: { object: { ...fixture.data.object, ...object } } });
}

/** `Stripe-Signature` as Stripe makes it: one v1 for each of the endpoint's secrets. */
export function stripeSignature(body: string, secrets: readonly string[], atMs = Date.now()): string {
  const time = Math.floor(atMs / 1000);
  const proofs = secrets.map((secret) =>
    createHmac("sha256", secret).update(`${time}.${body}`).digest("hex"),
  );
  return [`t=${time}`, ...proofs.map((proof) => `v1=${proof}`)].join(",");
}
