import type { ServiceSchema } from "moleculer";
import { implement, type Params, type Result } from "../../contracts/actions.ts";
import { exampleOf } from "../../contracts/documentation.ts";
import type { Account } from "../../contracts/identity.ts";
import { type Message, type MessageType, messages } from "../../contracts/messages.ts";
import { partner } from "../../contracts/partners.ts";
import type { MessageBus } from "../../providers/message-bus/index.ts";

/** The services around Orders in its tests: those that it calls and those that receive its messages. */

export function standInPartners(
  reserve: (params: Params<"partners.reserve">) => Promise<Result<"partners.reserve">>,
): ServiceSchema {
  return {
    name: "partners",
    actions: {
      reserve: implement("partners.reserve", (ctx) => reserve(ctx.params)),
      get: implement("partners.get", async ({ params }) => ({
        ...(exampleOf(partner) as Result<"partners.get">),
        id: params.partnerId,
      })),
    },
  };
}

/** Has the one photo `photo-1`, and fails when asked for `out-of-order`. */
export function standInMedia(): ServiceSchema {
  return {
    name: "media",
    actions: {
      hasProof: implement("media.hasProof", async ({ params }) => {
        if (params.photoId === "out-of-order") throw new Error("the store is away");
        return { exists: params.photoId === "photo-1" };
      }),
    },
  };
}

export interface LiveEvent {
  event: string;
  data: unknown;
}

/** Puts down what a gateway would pass on to those who watch an order. */
export function watcher(live: LiveEvent[]): ServiceSchema {
  const heard = (event: string) => (ctx: { params: unknown }) => void live.push({ event, data: ctx.params });
  return {
    name: "watcher",
    events: { "order.moved": heard("order.moved"), "order.position": heard("order.position") },
  };
}

/** Puts down every message that reaches the message bus. @returns what ends it */
export async function listen(messageBus: MessageBus, said: Message[]): Promise<() => Promise<void>> {
  const types = Object.keys(messages) as MessageType[];
  return await messageBus.subscribe("test", types, async (batch) => {
    said.push(...(batch as readonly Message[]));
  });
}

/** Identity's actions about users: the names of all, and a search that finds `named` by the beginning of the first name. */
export function userActions(named: readonly Account[]): ServiceSchema["actions"] {
  return {
    users: implement("identity.users", async ({ params: { q = "" } }) => ({
      items: named.filter(({ firstName }) => firstName.toLowerCase().startsWith(q.toLowerCase())),
    })),
    names: implement("identity.names", async ({ params }) => ({
      items: params.userIds.map((id) => ({ id, name: "Carl Courier" })),
    })),
  };
}
