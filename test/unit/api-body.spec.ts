import type { IncomingMessage, ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { describe, expect, it } from "@jest/globals";
import {
  baseHeaders,
  cors,
  refuseOddHeaders,
  requestIdOf,
  targetOf,
} from "../../services/api/edge/request-head.ts";
import { parseJson, readBody, requireMediaType, textOf } from "../../services/api/pipeline/request.ts";

const MEBIBYTE = 1_048_576;
/** The error's type, or what was answered. */
const outcome = (work: () => unknown): unknown => {
  try {
    return work();
  } catch (error) {
    return (error as { type: string }).type;
  }
};

describe("a body", () => {
  /** Comes in these pieces. */
  const coming = (pieces: Iterable<Buffer>, headers: Record<string, string> = {}) =>
    Object.assign(Readable.from(pieces, { objectMode: true }), { headers }) as unknown as IncomingMessage;
  const read = (pieces: Iterable<Buffer>, maxBytes: number, headers?: Record<string, string>) =>
    readBody(coming(pieces, headers), maxBytes).catch(({ type }: { type: string }) => type);
  const pieces = (...texts: string[]) => texts.map((text) => Buffer.from(text));

  it("up to its limit, is read whole; a byte more, is too large", async () => {
    expect(await read(pieces("abc", "de"), 5)).toEqual(Buffer.from("abcde"));
    expect(await read(pieces("abcde"), 5)).toEqual(Buffer.from("abcde"));
    expect(await read(pieces("abc", "def"), 5)).toBe("PAYLOAD_TOO_LARGE");
    expect(await read(pieces("abcdef"), 5)).toBe("PAYLOAD_TOO_LARGE");
    expect(await read([], 5)).toEqual(Buffer.alloc(0));
  });

  it("that is too large, is read to its end up to 16 MiB, and no further", async () => {
    let sent = 0;
    function* endless(mebibytes: number) {
      for (sent = 0; sent < mebibytes; sent++) yield Buffer.alloc(MEBIBYTE);
    }
    expect(await read(endless(16), 5)).toBe("PAYLOAD_TOO_LARGE");
    expect(sent).toBe(16);
    expect(await read(endless(40), 5)).toBe("PAYLOAD_TOO_LARGE");
    expect(sent).toBeLessThan(20);
  });

  it("that is announced as larger than that, is not waited for", async () => {
    const silent = Object.assign(new Readable({ read: () => undefined }), {
      headers: { "content-length": String(16 * MEBIBYTE + 1) },
    });
    await expect(readBody(silent as unknown as IncomingMessage, 5)).rejects.toMatchObject({
      type: "PAYLOAD_TOO_LARGE",
    });
    expect(await read(pieces("abc"), 5, { "content-length": String(16 * MEBIBYTE) })).toEqual(
      Buffer.from("abc"),
    );
  });

  it("that ends early, is a bad request", async () => {
    const broken = new Readable({ read: () => broken.destroy(new Error("aborted")) });
    const asked = readBody(Object.assign(broken, { headers: {} }) as unknown as IncomingMessage, 5);
    await expect(asked).rejects.toMatchObject({ type: "BAD_REQUEST" });
  });

  it("of bytes that are not UTF-8, has no text; a byte order mark is text", () => {
    expect(textOf(Buffer.from([0xff]))).toBeUndefined();
    expect(textOf(Buffer.from("\ufeffä"))).toBe("\ufeffä");
  });
});

describe("a body of JSON", () => {
  const parse = (text: string) => outcome(() => parseJson(Buffer.from(text)));
  const nested = (levels: number) => `${"[".repeat(levels)}${"]".repeat(levels)}`;
  const nestedObjects = (levels: number) => `${'{"a":'.repeat(levels)}1${"}".repeat(levels)}`;

  it.each([
    ["1", 1],
    ['"a:b"', "a:b"],
    ["null", null],
    ["true", true],
    ['{"a":"b:c","d":{"e":[1,{"f":null}]}}', { a: "b:c", d: { e: [1, { f: null }] } }],
    ['{"a\\\\":"\\\\","b\\"c:":":\\"","d":1}', { "a\\": "\\", 'b"c:': ':"', d: 1 }],
    ['[{"a":1},{"a":2}]', [{ a: 1 }, { a: 2 }]],
    ["[]", []],
  ])("%s, is its value", (text, value) => {
    expect(parse(text)).toEqual(value);
  });

  it.each([
    ["BAD_JSON", "{"],
    ["BAD_JSON", ""],
    ["BAD_JSON", "undefined"],
    ["BAD_REQUEST", '{"a":1,"a":2}'],
    ["BAD_REQUEST", '[[{"a":{"b":1,"b":1}}]]'],
    ["BAD_REQUEST", '{"\\u0061":1,"a":2}'],
    ["BAD_REQUEST", '{"__proto__":1}'],
    ["BAD_REQUEST", '[{"a":{"constructor":1}}]'],
    ["BAD_REQUEST", '{"prototype":1}'],
    ["BAD_REQUEST", '"a\\u0000"'],
    ["BAD_REQUEST", '{"a":["\\ud800"]}'],
    ["BAD_REQUEST", '{"a\\u0000":1}'],
    ["BAD_REQUEST", '{"\\udc00":1}'],
  ])("is %s: %s", (type, text) => {
    expect(parse(text)).toBe(type);
  });

  it("that is not UTF-8, is refused", () => {
    expect(outcome(() => parseJson(Buffer.from([0x22, 0xff, 0x22])))).toBe("BAD_JSON");
  });

  it("may be nested 32 levels deep", () => {
    for (const deep of [nested, nestedObjects]) {
      expect(typeof parse(deep(32))).toBe("object");
      expect(parse(deep(33))).toBe("BAD_REQUEST");
    }
  });
});

describe("a media type", () => {
  const take = (headers: Record<string, string>, types: string[] = ["application/json"]) =>
    outcome(() => requireMediaType({ headers } as unknown as IncomingMessage, types)) ?? "fine";

  it.each([
    "application/json",
    "Application/JSON",
    " application/json ; charset=utf-8",
    'application/json; charset="UTF-8"',
    "application/json; charset=utf-8; charset=utf-8",
    "application/json; profile=x",
    "application/json;",
  ])("%p, is JSON in UTF-8", (type) => {
    expect(take({ "content-type": type })).toBe("fine");
    expect(take({ "content-type": type, "content-encoding": "identity" })).toBe("fine");
    expect(take({ "content-type": type, "content-encoding": "gzip" })).toBe("UNSUPPORTED_MEDIA_TYPE");
    expect(take({ "content-type": type }, ["image/png"])).toBe("UNSUPPORTED_MEDIA_TYPE");
  });

  it.each([
    "",
    "text/plain",
    "application/jsonx",
    "application/json; charset=latin1",
    "application/json; charset=utf-8; charset=latin1",
    "application/json; charset",
  ])("%p, is not", (type) => {
    expect(take({ "content-type": type })).toBe("UNSUPPORTED_MEDIA_TYPE");
  });

  it("that is missing, is refused with the accepted ones", () => {
    expect(take({})).toBe("UNSUPPORTED_MEDIA_TYPE");
    const refuse = (types: string[]) => () => requireMediaType({ headers: {} } as IncomingMessage, types);
    expect(refuse(["application/json"])).toThrow("Send application/json in UTF-8.");
    expect(refuse(["image/png", "image/jpeg"])).toThrow("Send image/png or image/jpeg.");
  });
});

describe("the target of a request", () => {
  const many = (count: number) => Array.from({ length: count }, (_, at) => `p${at}=1`).join("&");

  it.each([
    ["/", "/", {}],
    ["/orders?", "/orders", {}],
    ["/orders?a=1&b=", "/orders", { a: "1", b: "" }],
    ["/orders?a&&b=2", "/orders", { a: "", b: "2" }],
    ["/orders?a=b=c", "/orders", { a: "b=c" }],
    ["/orders?a+b=c+d%2B", "/orders", { "a b": "c d+" }],
    ["/%C3%A4?%C3%A4=%C3%A4", "/%C3%A4", { ä: "ä" }],
    ["/a?b?c=1", "/a", { "b?c": "1" }],
    ["/a?=1", "/a", { "": "1" }],
  ])("%s, is a path and its parameters", (url, path, query) => {
    expect(targetOf(url)).toEqual({ path, query });
  });

  it.each([
    ...["", "orders", "//x y", "/ä", "*", "http://x/", "/\u0000", "/\u007f"],
    ...["/%", "/%zz", "/%c3", "/%00", "/a?b=%00", "/a?%c3=1", "/a?b=%"],
    ...["/a?b=1&b=2", "/a?b=1&%62=2", "/a?__proto__=1", "/a?constructor", "/a?%70rototype=1"],
  ])("%j, is refused", (url) => {
    expect(outcome(() => targetOf(url))).toBe("BAD_REQUEST");
  });

  it("has up to a hundred parameters", () => {
    expect(Object.keys(targetOf(`/?${many(100)}`).query)).toHaveLength(100);
    expect(outcome(() => targetOf(`/?${many(101)}`))).toBe("BAD_REQUEST");
  });
});

describe("headers", () => {
  const request = (fields: [string, string][], more: object = {}) => {
    const headers = Object.fromEntries(fields.map(([name, value]) => [name.toLowerCase(), value]));
    return { rawHeaders: fields.flat(), headers, httpVersion: "1.1", ...more } as unknown as IncomingMessage;
  };
  const refuse = (fields: [string, string][], more?: object) =>
    outcome(() => refuseOddHeaders(request(fields, more))) ?? "fine";
  const host: [string, string] = ["Host", "x"];
  const many = (count: number) =>
    Array.from({ length: count }, (_, at): [string, string] => [`X-${at}`, "host"]);

  it("that may occur once only, are refused twice; others may be repeated", () => {
    expect(refuse([host])).toBe("fine");
    expect(refuse([host, ["Accept", "a"], ["accept", "b"]])).toBe("fine");
    for (const name of ["host", "AUTHORIZATION", "Content-Length", "Idempotency-Key", "If-Match"]) {
      expect(refuse([host, [name, "a"], [name.toLowerCase(), "a"]])).toBe("BAD_REQUEST");
    }
  });

  it("are a hundred at most", () => {
    expect(refuse([host, ...many(99)])).toBe("fine");
    expect(refuse([host, ...many(100)])).toBe("HEADERS_TOO_LARGE");
  });

  it("contain the host, except in HTTP/1.0", () => {
    expect(refuse([])).toBe("BAD_REQUEST");
    expect(refuse([], { httpVersion: "1.0" })).toBe("fine");
  });

  it("give the request its id, if that can be logged", () => {
    for (const id of ["a", "a:b.c-d_1", "x".repeat(128)]) {
      expect(requestIdOf(request([["X-Request-Id", id]]))).toBe(id);
    }
    for (const id of ["", "a b", "x".repeat(129), "a\n"]) {
      expect(requestIdOf(request([["X-Request-Id", id]]))).toMatch(/^[0-9a-f-]{36}$/);
    }
    expect(requestIdOf(request([]))).toMatch(/^[0-9a-f-]{36}$/);
  });

  it("of every answer, require HTTPS where there is HTTPS", () => {
    const names = (https: boolean) => baseHeaders({ https }).map(([name]) => name);
    expect(names(true)).toContain("Strict-Transport-Security");
    expect(names(false)).not.toContain("Strict-Transport-Security");
    expect(names(false)).toHaveLength(4);
  });

  describe("for a page of another origin", () => {
    const ask = (origins: string[], headers: Record<string, string>, method = "GET", url?: string) => {
      const set: Record<string, unknown> = {};
      const status: number[] = [];
      const res = {
        setHeader(name: string, value: unknown) {
          set[name] = value;
        },
        writeHead: (code: number) => ({ end: () => status.push(code) }),
      } as unknown as ServerResponse;
      const req = { method, headers, url } as unknown as IncomingMessage;
      const answered = cors(origins).handle(req, res, (path) => (path === "/a" ? ["GET", "POST"] : []));
      return { answered, status, set };
    };
    const page = "https://shop.example";
    const asking = { origin: page, "access-control-request-method": "POST" };

    it("that is allowed, permit it to read", () => {
      const { answered, status, set } = ask([page], { origin: page });
      expect({ answered, status }).toEqual({ answered: false, status: [] });
      expect(set).toEqual({
        Vary: "Origin",
        "Access-Control-Allow-Origin": page,
        "Access-Control-Expose-Headers": expect.stringContaining("ETag"),
      });
    });

    it("that is allowed, answer its preflight request with what it may send, for ten minutes", () => {
      const { answered, status, set } = ask([page], asking, "OPTIONS", "/a");
      expect({ answered, status }).toEqual({ answered: true, status: [204] });
      expect(set).toMatchObject({
        "Access-Control-Allow-Methods": "GET, POST",
        "Access-Control-Allow-Headers": expect.stringContaining("If-Match"),
        "Access-Control-Max-Age": 600,
      });
    });

    it("that is not allowed, are absent, and its preflight request is answered", () => {
      const other = { ...asking, origin: "https://other.example" };
      expect(ask([page], other, "OPTIONS", "/a")).toEqual({
        ...{ answered: true, status: [204], set: { Vary: "Origin" } },
      });
      expect(ask([page], { origin: "https://other.example" }).set).toEqual({ Vary: "Origin" });
      expect(ask([page], {}).set).toEqual({ Vary: "Origin" });
      expect(ask([], { origin: page })).toEqual({ answered: false, status: [], set: {} });
    });

    it("that asks for methods without an origin, are not those of a preflight request", () => {
      expect(ask([page], { origin: page }, "OPTIONS", "/a").answered).toBe(false);
      expect(ask([page], asking, "GET", "/a").answered).toBe(false);
    });
  });
});
