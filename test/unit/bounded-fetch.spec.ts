import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { boundedFetch } from "../../lib/net/bounded-fetch.ts";

const MEBIBYTE = 1_048_576;

describe("boundedFetch", () => {
  let server: Server;
  let url: string;
  beforeAll(async () => {
    server = createServer((request, response) => {
      const [, status, bytes] = (request.url ?? "").split("/").map(Number);
      if (status) response.writeHead(status).end(Buffer.alloc(bytes ?? 0, "x"));
    });
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(async () => {
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  });
  const timeoutMs = 30_000;

  it("of a body up to the limit, returns it whole; with one byte more, fails", async () => {
    const call = { timeoutMs, maxBodyBytes: 100_000 };
    expect(await boundedFetch(`${url}/200/100000`, call)).toMatchObject({
      ...{ status: 200, text: "x".repeat(100_000) },
    });
    await expect(boundedFetch(`${url}/200/100001`, call)).rejects.toThrow("too long");
  });

  it("without a limit, reads at most a mebibyte", async () => {
    expect((await boundedFetch(`${url}/200/${MEBIBYTE}`, { timeoutMs })).text).toHaveLength(MEBIBYTE);
    await expect(boundedFetch(`${url}/200/${MEBIBYTE + 1}`, { timeoutMs })).rejects.toThrow("too long");
  });

  it("of an answer without a body, returns an empty text", async () => {
    expect(await boundedFetch(`${url}/204`, { timeoutMs })).toMatchObject({ status: 204, text: "" });
  });

  it("aborted by its caller, ends with the caller's reason", async () => {
    const reason = new Error("the service stops");
    await expect(boundedFetch(url, { timeoutMs, signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    await expect(boundedFetch(`${url}/200/1`, { timeoutMs, signal: null })).resolves.toBeDefined();
  });
});
