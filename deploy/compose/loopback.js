// Forwards TCP connections from a container's loopback address to another container. The browser, the sandbox and the
// services all use 127.0.0.1 for the sandbox, because the services refuse other private addresses. In a container that
// is the container's own address, so this program runs in its network and forwards:
//
//   node deploy/compose/loopback.js 127.0.0.1:3002=sandbox:3012 …
import { createConnection, createServer } from "node:net";

const servers = process.argv.slice(2).map((rule) => {
  const [from = "", to = ""] = rule.split("=");
  const [host, port] = from.split(":");
  const [targetHost, targetPort] = to.split(":");
  const server = createServer((near) => {
    const far = createConnection(Number(targetPort), targetHost);
    near.pipe(far).pipe(near);
    near.on("error", () => far.destroy());
    far.on("error", () => near.destroy());
  });
  return server.listen(Number(port), host);
});

for (const signal of ["SIGTERM", "SIGINT"]) {
  process.once(signal, () => {
    for (const server of servers) server.close();
    process.exit(0);
  });
}
