import type { IncomingMessage } from "node:http";
import { describe, expect, it } from "@jest/globals";
import { networkOf } from "../../lib/net/network-of.ts";
import { etagOf, isFresh } from "../../services/api/answers/answer.ts";
import { clientIpOf } from "../../services/api/edge/request-head.ts";
import { limiter, limitHeaders, memoryCounters, throwIfExceeded } from "../../services/api/limits/limits.ts";
import { expectedVersion, refuseCondition } from "../../services/api/pipeline/request.ts";

describe("client address", () => {
  const from = (trusted: string[], peer: string | undefined, forwarded?: string) =>
    clientIpOf(trusted)({
      socket: { remoteAddress: peer },
      headers: { "x-forwarded-for": forwarded },
    } as unknown as IncomingMessage);

  it.each([
    ["nobody trusted", [], "9.9.9.9", "1.1.1.1", "9.9.9.9"],
    ["from a stranger", ["10.0.0.0/8"], "9.9.9.9", "1.1.1.1", "9.9.9.9"],
    ["from our proxy", ["10.0.0.0/8"], "10.0.0.1", "1.1.1.1", "1.1.1.1"],
    ["with an invented hop in front", ["10.0.0.0/8"], "10.0.0.1", "6.6.6.6, 1.1.1.1", "1.1.1.1"],
    ["through two of our proxies", ["10.0.0.0/8"], "10.0.0.1", "1.1.1.1, 10.0.0.2", "1.1.1.1"],
    ["from our proxy without the header", ["10.0.0.0/8"], "10.0.0.1", undefined, "10.0.0.1"],
    ["with nonsense", ["10.0.0.0/8"], "10.0.0.1", "nonsense", "10.0.0.1"],
    ["mapped into IPv6", ["10.0.0.1"], "::ffff:10.0.0.1", "2001:db8::1", "2001:db8::1"],
    ["from a network in IPv6", ["fd00::/8"], "fd00::1", "1.1.1.1", "1.1.1.1"],
    ["from an address in IPv6", ["fd00::1"], "fd00::1", "1.1.1.1", "1.1.1.1"],
    ["from another address in IPv6", ["fd00::1"], "fd00::2", "1.1.1.1", "fd00::2"],
    ["mapped into IPv6 by our proxy", ["10.0.0.1"], "10.0.0.1", "::ffff:1.1.1.1", "1.1.1.1"],
    ["of IPv6 that looks mapped", ["10.0.0.1"], "10.0.0.1", "::ffff:1:2", "::ffff:1:2"],
    ["behind nonsense", ["10.0.0.1"], "10.0.0.1", "1.1.1.1, nonsense", "10.0.0.1"],
    ["through ten hops", ["10.0.0.0/8"], "10.0.0.1", `1.1.1.1${", 10.0.0.2".repeat(9)}`, "1.1.1.1"],
    ["through too many", ["10.0.0.0/8"], "10.0.0.1", `1.1.1.1${", 10.0.0.2".repeat(10)}`, "10.0.0.1"],
    ["without an address", ["10.0.0.1"], undefined, "1.1.1.1", ""],
  ])("%s, is %#", (_, trusted, peer, forwarded, expected) => {
    expect(from(trusted, peer, forwarded)).toBe(expected);
  });
});

describe("the limit's key of an address", () => {
  it.each([
    ["192.0.2.7", "192.0.2.7"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["2001:0db8:0001:0002:ffff::1", "2001:db8:1:2::/64"],
    ["2001:db8::1", "2001:db8:0:0::/64"],
    ["2001:db8:1:2::", "2001:db8:1:2::/64"],
    ["::1", "0:0:0:0::/64"],
    ["64:ff9b::192.0.2.7", "64:ff9b:0:0::/64"],
    ["1::3:4:5:6:7:8", "1:0:3:4::/64"],
    ["1::3:4:5:6:192.0.2.7", "1:0:3:4::/64"],
    ["abcd:EF01:10::", "abcd:ef01:10:0::/64"],
    ["fe80::1%eth0", "fe80:0:0:0::/64"],
    ["nonsense", "nonsense"],
  ])("%s, is %s", (ip, expected) => {
    expect(networkOf(ip)).toBe(expected);
  });
});

describe("conditions", () => {
  const etag = etagOf('{"a":1}', 7);

  it("of a versioned resource, compare the version in If-Match", () => {
    expect(etag).toMatch(/^"7-[\w-]{22}"$/);
    expect(expectedVersion(etag)).toBe(7);
    expect(expectedVersion('"7"')).toBe(7);
    // As proxies that compress hand it out.
    expect(expectedVersion(`W/${etag}`)).toBe(7);
    expect(expectedVersion(etag.replace(/"$/, '-gzip"'))).toBe(7);
    expect([expectedVersion(undefined), expectedVersion("*")]).toEqual([undefined, undefined]);
  });

  it.each(["7", "", '"', '"7', '"7" "8"', "*, *", '"7",'])(
    "that are malformed, as If-Match: %s, are refused",
    (header) => {
      expect(() => expectedVersion(header)).toThrow(expect.objectContaining({ type: "BAD_REQUEST" }));
    },
  );

  it.each([['"abc"'], ['W/"abc"'], ['"0"'], ['"99999999999"'], ['"7", "8"']])(
    "with If-Match: %s, fail",
    (header) => {
      expect(() => expectedVersion(header)).toThrow(expect.objectContaining({ type: "PRECONDITION_FAILED" }));
    },
  );

  it("with spaces around them, are the same", () => {
    expect(expectedVersion(` ${etag} `)).toBe(7);
    expect(expectedVersion(" * ")).toBeUndefined();
    expect([isFresh(" * ", etag), isFresh(` ${etag} , "x"`, etag), isFresh("", etag)]).toEqual([
      ...[true, true, false],
    ]);
    expect(isFresh('"x"', etag)).toBe(false);
  });

  it("may name every version that there can be", () => {
    expect(expectedVersion('"1"')).toBe(1);
    expect(expectedVersion('"4294967295"')).toBe(4_294_967_295);
    expect(() => expectedVersion('"4294967296"')).toThrow(
      expect.objectContaining({ type: "PRECONDITION_FAILED" }),
    );
  });

  it("of an operation without versions, are refused, except that the resource must exist", () => {
    for (const fine of [undefined, "*", " * "]) expect(() => refuseCondition(fine)).not.toThrow();
    for (const header of [etag, ""]) {
      expect(() => refuseCondition(header)).toThrow(expect.objectContaining({ type: "BAD_REQUEST" }));
    }
  });

  it("of a read, compare the whole tag weakly", () => {
    expect(isFresh(etag, etag)).toBe(true);
    expect(isFresh(`"x", W/${etag}`, etag)).toBe(true);
    expect(isFresh("*", etag)).toBe(true);
    expect(isFresh('"7"', etag)).toBe(false);
    expect(isFresh(undefined, etag)).toBe(false);
    expect(etagOf('{"a":2}', 7)).not.toBe(etag);
    expect(etagOf("{}")).toMatch(/^"[\w-]{22}"$/);
  });
});

describe("limits", () => {
  it("count each subject alone and start again with the minute", async () => {
    let nowMs = 60_000;
    const clock = { now: () => nowMs };
    const limits = limiter({ address: 2, user: 0, "sign-in": 1 }, memoryCounters(clock), clock);
    const take = async (subject: string) =>
      (await limits.consume([{ name: "address", subject }], true))[0]?.remaining;
    expect([await take("a"), await take("a"), await take("b"), await take("a")]).toEqual([1, 0, 1, -1]);
    nowMs += 59_999;
    expect(await take("a")).toBe(-2);
    nowMs += 1;
    expect(await take("a")).toBe(1);
    expect(await limits.consume([{ name: "user", subject: "a" }], true)).toEqual([]);
  });

  it("that are used up, are refused with the time to wait, and announced before", async () => {
    const clock = { now: () => 90_500 };
    const limits = limiter({ address: 1, user: 1, "sign-in": 1 }, memoryCounters(clock), clock);
    const address = { name: "address", subject: "a" } as const;
    expect(limits.isExhausted(address)).toBe(false);
    const first = await limits.consume([address], true);
    expect(() => throwIfExceeded(first)).not.toThrow();
    expect(limitHeaders(first)).toEqual({
      "RateLimit-Policy": '"address";q=1;w=60',
      RateLimit: '"address";r=0;t=30',
    });
    expect(limits.isExhausted(address)).toBe(true);
    const second = await limits.consume([address], true);
    expect(() => throwIfExceeded(second)).toThrow(
      expect.objectContaining({ type: "TOO_MANY_REQUESTS", data: { retryAfterSeconds: 30 } }),
    );
    expect(limits.refused()).toEqual({ address: 1, user: 0, "sign-in": 0 });
  });

  it("without a maximum, refuse and announce nothing", async () => {
    const clock = { now: () => 90_500 };
    const limits = limiter({ address: 0, user: 0, "sign-in": 0 }, memoryCounters(clock), clock);
    expect(limits.isExhausted({ name: "address", subject: "a" })).toBe(false);
    expect(limitHeaders(await limits.consume([{ name: "address", subject: "a" }], true))).toEqual({});
  });

  it("after their minute, refuse nothing before the next hit", async () => {
    let nowMs = 60_000;
    const clock = { now: () => nowMs };
    const limits = limiter({ address: 1, user: 0, "sign-in": 0 }, memoryCounters(clock), clock);
    const address = { name: "address", subject: "a" } as const;
    await limits.consume([address], true);
    nowMs += 59_999;
    expect(limits.isExhausted(address)).toBe(true);
    nowMs += 1;
    expect(limits.isExhausted(address)).toBe(false);
  });

  it("whose counters end within a second, announce a second, and without a count, nothing", async () => {
    const counters = {
      consume: async () => [undefined, { hits: 1, endsAtMs: 0 }],
      ...{ isExhausted: () => false, leased: () => 0 },
    };
    const limits = limiter({ address: 1, user: 1, "sign-in": 1 }, counters, { now: () => 90_500 });
    const wants = [
      { name: "address", subject: "a" },
      { name: "user", subject: "u" },
    ] as const;
    expect(await limits.consume(wants, true)).toEqual([
      { name: "user", limit: 1, remaining: 0, resetSeconds: 1 },
    ]);
  });

  it("are counted for at most 200,000 subjects", async () => {
    const counters = memoryCounters({ now: () => 60_000 });
    const hit = async (key: string) => (await counters.consume([{ key, limit: 9 }], true))[0]?.hits;
    for (let subject = 0; subject < 199_999; subject += 1) await hit(String(subject));
    expect([await hit("0"), await hit("last")]).toEqual([2, 1]);
    // With the next hit all begin anew.
    expect([await hit("0"), await hit("more")]).toEqual([1, 1]);
    expect(counters.leased()).toBe(0);
  });

  it("of several kinds, behind the first that is used up, are not counted", async () => {
    const clock = { now: () => 90_500 };
    const limits = limiter({ address: 1, user: 2, "sign-in": 0 }, memoryCounters(clock), clock);
    const wants = [
      { name: "address", subject: "a" },
      { name: "user", subject: "u" },
    ] as const;
    const lefts = async () => (await limits.consume(wants, true)).map(({ remaining }) => remaining);
    expect([await lefts(), await lefts(), await lefts()]).toEqual([[0, 1], [-1], [-2]]);
  });
});
