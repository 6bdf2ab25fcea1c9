import { resolve } from "node:path";
import { describe, expect, it } from "@jest/globals";
import { messages } from "../../contracts/messages.ts";
import { readersOf, sendersOf } from "../../docs/generate/message-routes.ts";

const root = resolve(import.meta.dirname, "../..");
const types = Object.keys(messages);

describe("senders and readers of messages, as docs/messages.md lists them", () => {
  it("have a sender for each type, and none beside those that NATS allows", () => {
    const senders = sendersOf(root, types);
    expect(types.filter((type) => !senders.get(type)?.length)).toEqual([]);
    expect(senders.get("order.paid")).toEqual(["orders"]);
    expect(senders.get("notification.requested")).toEqual(["identity", "partners"]);
  });

  it("are the services with a handler for the type", async () => {
    const readers = await readersOf(types);
    expect(readers.get("order.paid")?.toSorted()).toEqual(["notifications", "orders", "partners"]);
    expect(readers.get("audit.recorded")).toEqual(["identity"]);
    expect(readers.get("partner.updated")).toEqual([]);
  });
});
