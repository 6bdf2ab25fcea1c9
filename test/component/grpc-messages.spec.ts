import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { callCredential, verifyCredential } from "../../packages/moleculer-grpc/src/credential.ts";
import { type MessageCodec, MessageError } from "../../packages/moleculer-grpc/src/message-codec.ts";
import { type Method, protoCatalogue } from "../../packages/moleculer-grpc/src/proto-catalogue.ts";
import { EMPTY_ECHO, PROTO_DIR } from "../support/bridge.ts";

const { request: echo } = protoCatalogue(PROTO_DIR).methodOf("probe.echo") as Method;

const wellFormed = fc.string({ unit: "binary" });
const safe = fc.maxSafeInteger();
const colour = fc.constantFrom("red", "deep_blue");
const amount = fc.record({ amountMinor: safe, currency: wellFormed });
const int32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const double = fc.double({ noNaN: true, noDefaultInfinity: true });
const strings = fc.dictionary(wellFormed, wellFormed);

const message = fc.record(
  {
    text: wellFormed,
    flag: fc.boolean(),
    big: safe,
    small: int32,
    ratio: double,
    colour,
    amount,
    maybeText: wellFormed,
    maybeFlag: fc.boolean(),
    maybeBig: safe,
    maybeColour: colour,
    lines: fc.array(
      fc.record(
        { title: wellFormed, quantity: int32, unitPrice: amount },
        { requiredKeys: ["title", "quantity"] },
      ),
    ),
    words: fc.array(wellFormed),
    headers: strings,
    settings: strings,
    version: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  },
  {
    requiredKeys: [
      ...["text", "flag", "big", "small", "ratio", "colour", "amount"],
      ...["lines", "words", "headers", "settings", "version"],
    ] as never[],
  },
);

/** The problems that a codec finds; none where it finds none. */
function problemsOf(work: () => unknown): { field: string; rule: string }[] {
  try {
    work();
    return [];
  } catch (error) {
    if (error instanceof MessageError) return [...error.problems];
    throw error;
  }
}

function bytesOfBig(value: bigint): Buffer {
  let rest = BigInt.asUintN(64, value);
  const bytes = [0x18];
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return Buffer.from([...bytes, Number(rest)]);
}

function decodedBig(codec: MessageCodec, value: bigint): unknown {
  return codec.decode(bytesOfBig(value)).big;
}

describe("a change over the bridge, with optional fields that may be null,", () => {
  const { request } = protoCatalogue("proto").methodOf("partners.update") as Method;
  const bytesOf = (...names: string[]) =>
    Buffer.concat(names.map((name) => Buffer.concat([Buffer.from([0x72, name.length]), Buffer.from(name)])));

  it("distinguishes null from absent, with the names of the proto file", () => {
    const change = { partnerId: "p", title: "Mill", brand: null, apiUrl: null };
    const bytes = request.encode(change);
    expect(bytes.toString("latin1")).toContain("api_url");
    expect(request.decode(bytes)).toEqual(change);
    expect(request.decode(request.encode({ partnerId: "p", brand: undefined }))).toEqual({ partnerId: "p" });
  });

  it.each([
    ["a field that there is not", bytesOf("colour")],
    ["a field that is always there", bytesOf("partner_id")],
    ["the list itself", bytesOf("cleared_fields")],
    ["a name in the spelling of the contract", bytesOf("apiUrl")],
    ["a field that is given too", Buffer.concat([Buffer.from([0x22, 1, 0x61]), bytesOf("brand")])],
    ["a field twice", bytesOf("brand", "brand")],
  ])("that names %s, is refused", (_, bytes) => {
    expect(problemsOf(() => request.decode(bytes))).toEqual([
      expect.objectContaining({ field: "clearedFields", rule: "enumValue" }),
    ]);
  });
});

describe("a message of the bridge", () => {
  it("with any valid values, is the same on the other side", () => {
    fc.assert(
      fc.property(message, (value) => {
        expect(echo.decode(echo.encode(value))).toEqual(value);
      }),
    );
  });

  it("given any number that is no safe integer for an int64, is refused by the field's name", () => {
    const unsafe = fc.oneof(
      fc.double().filter((number) => !Number.isSafeInteger(number)),
      fc.bigInt({ min: 2n ** 53n, max: 2n ** 64n }).map(String),
      fc.bigInt({ min: -(2n ** 64n), max: -(2n ** 53n) }).map(Number),
      fc.string().filter((text) => !/^-?\d{1,16}$/.test(text)),
      fc.constantFrom(
        "12.7",
        "abc",
        "",
        " 1",
        "1e3",
        "0x10",
        "9007199254740993",
        "-9007199254740992",
        true,
        1n,
        {},
      ),
    );
    fc.assert(
      fc.property(unsafe, (big) => {
        const amountOf = { ...EMPTY_ECHO, amount: { amountMinor: big, currency: "EUR" } };
        expect(problemsOf(() => echo.encode({ ...EMPTY_ECHO, big }))).toMatchObject([{ field: "big" }]);
        expect(problemsOf(() => echo.encode(amountOf))).toMatchObject([{ field: "amount.amountMinor" }]);
      }),
    );
  });

  it("with any int64 on the wire, is that number or refused, never wrapped", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (value) => {
        const isSafe = value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER);
        const problems = problemsOf(() => {
          expect(decodedBig(echo, value)).toBe(Number(value));
        });
        expect(problems).toMatchObject(isSafe ? [] : [{ field: "big", rule: "numberInteger" }]);
      }),
    );
  });

  it.each([Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, 2 ** 32, 2 ** 31, -1, 0])(
    "with the limit %p, keeps it",
    (big) => {
      expect(echo.decode(echo.encode({ ...EMPTY_ECHO, big }))).toMatchObject({ big });
      expect(decodedBig(echo, BigInt(big))).toBe(big);
    },
  );

  it("made of any other value, is refused with a reason or loses nothing", () => {
    fc.assert(
      fc.property(fc.object({ key: fc.constantFrom("text", "big", "lines", "headers", "x") }), (change) => {
        const value = { ...EMPTY_ECHO, ...change };
        if (problemsOf(() => echo.encode(value)).length > 0) return;
        const given = Object.entries(value).filter(([, each]) => each !== undefined && each !== null);
        expect(Object.keys(echo.decode(echo.encode(value)))).toEqual(
          expect.arrayContaining(given.map(([name]) => name)),
        );
      }),
    );
  });

  it("read from any bytes, is a message or a MessageError", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        problemsOf(() => echo.decode(bytes));
      }),
    );
  });

  it("with names that every object inherits, keeps them in maps and refuses them elsewhere", () => {
    const headers = JSON.parse('{"__proto__":"a","constructor":"b","toString":"c"}');
    const { headers: kept } = echo.decode(echo.encode({ ...EMPTY_ECHO, headers }));
    expect(Object.entries(kept as object)).toEqual(Object.entries(headers));
    expect(Object.getPrototypeOf(kept)).toBe(Object.getPrototypeOf({}));
    const evil = JSON.parse(JSON.stringify(EMPTY_ECHO).replace("{", '{"__proto__":{"role":"admin"},'));
    expect(problemsOf(() => echo.encode(evil))).toMatchObject([{ field: "__proto__", rule: "unknown" }]);
  });
});

describe("a credential", () => {
  const secret = "a secret of at least 32 characters!!";
  const path = "/waybill.test.v1.Probe/Echo";
  const prefix = "waybill";
  const now = () => 1_800_000_000_000;

  it("proves its node, with any name", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", minLength: 1, maxLength: 50 }), (node) => {
        const credential = callCredential({ secret, path, node, prefix, now });
        expect(verifyCredential(credential, { secret, path, prefix, now })).toBe(node);
      }),
    );
  });

  it("changed in any place, proves nothing", () => {
    const genuine = callCredential({ secret, path, node: "orders-1", prefix, now });
    fc.assert(
      fc.property(fc.nat(genuine.length - 1), fc.string({ minLength: 0, maxLength: 3 }), (at, patch) => {
        const forged = genuine.slice(0, at) + patch + genuine.slice(at + 1);
        fc.pre(forged !== genuine);
        expect(verifyCredential(forged, { secret, path, prefix, now })).toBeUndefined();
      }),
    );
  });
});
