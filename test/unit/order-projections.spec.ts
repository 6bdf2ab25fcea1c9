import { describe, expect, it } from "@jest/globals";
import { exampleOf } from "../../contracts/documentation.ts";
import { type Message, messages } from "../../contracts/messages.ts";
import { newId } from "../../lib/ids.ts";
import { postgres } from "../../mixins/postgres/postgres.mixin.ts";
import { orderProjections, projectionHandlers } from "../../services/orders/projections/projections.ts";
import { eventLog } from "../../services/orders/use-cases/event-log.ts";

const closed = postgres({
  url: "postgres://127.0.0.1:9/none",
  poolSize: 1,
  acquireTimeoutMs: 1,
  name: "none",
});
/** Nothing opens it. */
const store = { postgres: { url: closed.url, acquireTimeoutMs: 1 } };
const live: unknown[] = [];
const deps = {
  postgres: closed,
  offersOrders: false,
  live: { publish: (...event: unknown[]) => void live.push(event) },
};
const handlers = projectionHandlers(orderProjections(closed, store), deps.live, eventLog(deps));

describe("a message whose document cannot be stored", () => {
  it.each(Object.keys(handlers) as (keyof typeof handlers & keyof typeof messages)[])(
    "of the type %s, fails, so that it is handled again, and no client gets an event",
    async (type) => {
      const data = exampleOf(messages[type]);
      const message = { id: newId(), type, time: "2026-11-22T10:30:00.000Z", data } as unknown as Message;
      const handler = handlers[type] as { external(message: Message): Promise<void> };
      await expect(handler.external(message)).rejects.toMatchObject({ type: "SERVICE_UNAVAILABLE" });
      expect(live).toEqual([]);
    },
  );
});
