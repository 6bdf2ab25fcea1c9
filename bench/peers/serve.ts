import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** Answers each request, after its body was read, and prints the server's address for the parent process. */
export function serve(answer: (response: ServerResponse) => void): void {
  const server = createServer((request, response) => {
    request.resume();
    request.on("end", () => answer(response));
  });
  server.keepAliveTimeout = 60_000;
  server.listen(0, "127.0.0.1", () =>
    console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`),
  );
}
