import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { Webhook } from "standardwebhooks";
import {
  newSecret,
  type SignedHeaders,
  signedHeaders,
  verifiedMessageId,
} from "../../lib/webhook-signature.ts";

const MUTATIONS = 10_000;
const nowMs = Date.parse("2026-11-22T10:00:00Z");
const secret = newSecret();
const body = '{"type":"order.ready","timestamp":"2026-11-22T10:00:00Z","data":{"order_id":"0190"}}';
const id = "evt_2Kz";
const genuine = signedHeaders(id, body, [secret], nowMs);
const idOf = (headers: Record<string, string>, text = body, atMs = nowMs, secrets = [secret]) =>
  verifiedMessageId(headers, text, secrets, atMs);

/** One small change of a text: a character changed, removed, added or doubled. */
const mutation = fc.record({
  kind: fc.constantFrom("change", "remove", "insert", "double"),
  at: fc.nat(),
  character: fc.string({ unit: "grapheme-ascii", minLength: 1, maxLength: 1 }),
});

function mutate(
  text: string,
  { kind, at, character }: { kind: string; at: number; character: string },
): string {
  const position = at % text.length;
  const [before, after] = [text.slice(0, position), text.slice(position + 1)];
  if (kind === "change") return before + character + after;
  if (kind === "remove") return before + after;
  if (kind === "insert") return before + character + text.slice(position);
  return before + text[position] + text.slice(position);
}

describe("a signed call", () => {
  it("made by the specification's package is genuine, and the package verifies ours", () => {
    const at = new Date();
    const foreign = {
      "webhook-id": id,
      "webhook-timestamp": String(Math.floor(at.getTime() / 1000)),
      "webhook-signature": new Webhook(secret).sign(id, at, body),
    };
    expect(idOf(foreign, body, at.getTime())).toBe(id);
    const ours = { ...signedHeaders(id, body, [secret], Date.now()) };
    expect(new Webhook(secret).verify(body, ours)).toEqual(JSON.parse(body));
  });

  it("with any character of its headers or body changed, is not genuine", () => {
    const part = fc.constantFrom<keyof SignedHeaders | "body">(
      "webhook-id",
      "webhook-timestamp",
      "webhook-signature",
      "body",
    );
    fc.assert(
      fc.property(part, mutation, (which, change) => {
        const original = which === "body" ? body : genuine[which];
        const mutated = mutate(original, change);
        fc.pre(mutated !== original);
        if (which === "body") return idOf({ ...genuine }, mutated) === undefined;
        // A further signature that does not fit beside the one that does takes nothing away from it.
        fc.pre(which !== "webhook-signature" || !mutated.split(" ").includes(original));
        return idOf({ ...genuine, [which]: mutated }) === undefined;
      }),
      { numRuns: MUTATIONS },
    );
  });

  it.each(["webhook-id", "webhook-timestamp", "webhook-signature"])("without %s, is not genuine", (name) => {
    const { [name]: _, ...rest } = { ...genuine } as Record<string, string>;
    expect(idOf(rest)).toBeUndefined();
  });

  it("is genuine up to five minutes before and after, and no second longer", () => {
    expect(idOf({ ...genuine }, body, nowMs + 300_000)).toBe(id);
    expect(idOf({ ...genuine }, body, nowMs - 300_000)).toBe(id);
    expect(idOf({ ...genuine }, body, nowMs + 301_000)).toBeUndefined();
    expect(idOf({ ...genuine }, body, nowMs - 301_000)).toBeUndefined();
  });

  it("during the replacement of the secret, is genuine by either, and by no third", () => {
    const next = newSecret();
    const both = signedHeaders(id, body, [next, secret], nowMs);
    for (const secrets of [[secret], [next], [next, secret]])
      expect(idOf({ ...both }, body, nowMs, secrets)).toBe(id);
    expect(idOf({ ...both }, body, nowMs, [newSecret()])).toBeUndefined();
  });

  it("with a genuine signature behind many others, is not searched for without end", () => {
    const many = Array.from({ length: 10 }, () => "v1,AAAA");
    const signature = [...many, genuine["webhook-signature"]].join(" ");
    expect(idOf({ ...genuine, "webhook-signature": signature })).toBeUndefined();
  });
});
