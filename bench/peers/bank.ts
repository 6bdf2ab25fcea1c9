/** A payment system in a process of its own: creates each checkout at once. Prints its address. */
import { randomUUID } from "node:crypto";
import { serve } from "./serve.ts";

serve((response) => {
  const id = randomUUID();
  response.writeHead(201, { "content-type": "application/json" });
  response.end(JSON.stringify({ id, url: `http://127.0.0.1/pay/${id}` }));
});
