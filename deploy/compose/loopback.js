// The sandbox's world is at 127.0.0.1 for everybody: for the browser, for itself and for the services, which call no
// other address of a private network. In a container that address is the container's own, so this program stands at
// the door of one and passes connections on:
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
