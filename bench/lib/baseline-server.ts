/**
 * The baseline of HTTP: node:http with nothing in front of it. `/page` sends a file's bytes from memory, or a bare 304 to
 * whoever has them (as the request says by If-None-Match); `/hello` sends a small JSON.
 * Run as a process of its own: `node bench/lib/baseline-server.ts <file>`; prints its port.
 */
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

const HELLO = JSON.stringify({ hello: "world" });
const page = readFileSync(process.argv[2] ?? "");
const server = createServer((request, response) => {
  if (request.headers["if-none-match"]) {
    response.writeHead(304);
    response.end();
    return;
  }
  const body = request.url === "/hello" ? HELLO : page;
  response.writeHead(200, {
    "content-type": "application/json; charset=utf-8",
    "content-length": body.length,
  });
  response.end(body);
});
server.listen(0, "127.0.0.1", () => console.log((server.address() as AddressInfo).port));
