import { status as Status } from "@grpc/grpc-js";
import type { Context, ServiceBroker } from "moleculer";
import { fail, typeOf } from "../../contracts/errors.ts";
import type { Locals } from "../../contracts/meta.ts";
import type { Clock } from "../../lib/clock.ts";
import { announced } from "./address.ts";
import { MAX_MESSAGE_BYTES } from "./channel-options.ts";
import { fromRefusal, invalidParams, type Refusal } from "./errors.ts";
import { openLinks } from "./links.ts";
import { factsOf } from "./metadata.ts";
import type { Method } from "./proto-catalogue.ts";

/** The broker's own timer comes this much later, so that it is always the deadline that speaks. */
const DEADLINE_LEAD_MS = 10;
const DEFAULT_BUDGET_MS = 5_000;

/** The half of the bridge that asks: actions of other nodes, by gRPC to the address that the node announces. */
export interface BridgeClient {
  /**
   * @returns what the action returned
   * @throws whatever the action threw, unchanged; VALIDATION_ERROR for parameters that the proto does not know;
   * PAYLOAD_TOO_LARGE, SERVICE_UNAVAILABLE, DEADLINE_EXCEEDED, OVERLOADED or INTERNAL from the bridge itself; such an
   * error has no `nodeID` unless the node is known to be alive
   */
  send(method: Method, ctx: Context): Promise<unknown>;
  close(): void;
}

export function bridgeClient(options: { broker: ServiceBroker; secret: string; clock: Clock }): BridgeClient {
  const { broker, secret, clock } = options;
  const links = openLinks({ secret, node: broker.nodeID, clock });
  broker.localBus.on("$node.disconnected", ({ node }: { node: { id: string } }) => links.forget(node.id));

  function errorOf(method: Method, nodeID: string, refusal: Refusal): Error {
    const thrown = fromRefusal(broker, refusal);
    if (refusal.isAlive || isTooSlow(thrown, nodeID)) {
      return Object.assign(fail("DEADLINE_EXCEEDED", `${method.action} did not answer in time.`), { nodeID });
    }
    if (thrown) return thrown;
    switch (refusal.code) {
      case Status.UNAVAILABLE:
      case Status.CANCELLED: // we never cancel: the other side was cut off
        return fail("SERVICE_UNAVAILABLE", `${method.service} cannot be reached.`);
      case Status.DEADLINE_EXCEEDED:
        return fail("DEADLINE_EXCEEDED", `${method.action} did not answer in time.`);
      case Status.RESOURCE_EXHAUSTED:
        return fail("OVERLOADED", `${method.service} takes no more calls now.`);
      default:
        // UNAUTHENTICATED, UNIMPLEMENTED: two nodes of ours that do not fit each other are nobody's bad request.
        broker.logger.error(`${method.action} was refused by the bridge: ${refusal.details}`);
        return fail("INTERNAL");
    }
  }

  function decoded(method: Method, answer: Buffer): unknown {
    try {
      return method.response.decode(answer);
    } catch (error) {
      broker.logger.error(`${method.action} answered nonsense over the bridge`, error);
      throw fail("INTERNAL");
    }
  }

  return {
    async send(method, ctx) {
      (ctx.locals as Locals).wire = "grpc";
      const request = encoded(method, ctx.params);
      const nodeID = ctx.nodeID as string;
      const address = announced(broker, nodeID);
      if (address === undefined) throw fail("SERVICE_UNAVAILABLE", `${nodeID} announces no gRPC address.`);
      const timeoutMs = Math.max(1, (ctx.options.timeout || DEFAULT_BUDGET_MS) - DEADLINE_LEAD_MS);
      const asked = links.call(nodeID, address, {
        path: method.path,
        facts: factsOf(ctx),
        request,
        timeoutMs,
      });
      const answer = await asked.catch((refusal: Refusal) => {
        throw errorOf(method, nodeID, refusal);
      });
      return decoded(method, answer);
    },
    close: links.close,
  };
}

/** The node's broker has found out a moment before this side that the handler takes too long. */
function isTooSlow(thrown: Error | undefined, nodeID: string): boolean {
  const { data } = (thrown ?? {}) as { data?: { nodeID?: string } };
  return typeOf(thrown) === "REQUEST_TIMEOUT" && data?.nodeID === nodeID;
}

function encoded(method: Method, params: unknown): Buffer {
  let bytes: Buffer;
  try {
    bytes = method.request.encode(params);
  } catch (error) {
    throw invalidParams(error);
  }
  if (bytes.length > MAX_MESSAGE_BYTES) throw fail("PAYLOAD_TOO_LARGE", "The call has more than 1 MiB.");
  return bytes;
}
