import type { Context, Service, ServiceBroker } from "moleculer";
import { fail } from "../../contracts/errors.ts";
import type { Locals } from "../../contracts/meta.ts";
import type { Clock } from "../../lib/clock.ts";
import { MAX_MESSAGE_BYTES } from "./channel-options.ts";
import { invalidParams, isForCallers, type Refusal, toRefusal } from "./errors.ts";
import type { CallFacts } from "./metadata.ts";
import type { Method } from "./proto-catalogue.ts";

/** What `signal.throwIfAborted()` throws; one for all, since it is made ready for every call and hardly ever thrown. */
export const GONE = fail("DEADLINE_EXCEEDED", "Whoever called waits no longer.");

/** How long a call may take that names no deadline, or one further off. */
export const MAX_BUDGET_MS = 5_000;

type Plain = Record<string, unknown>;

export interface AnswerOptions {
  broker: ServiceBroker;
  secret: string;
  previousSecret?: string | undefined;
  clock: Clock;
}

/** A call as it came in, over a link or from a plain client. */
export interface Asked {
  /** Who proved to be calling. */
  peer: string;
  facts: CallFacts;
  request: Buffer;
  /** What is left of the caller's time, MAX_BUDGET_MS at most. */
  timeoutMs: number;
  /** Aborted when whoever calls waits no longer. */
  signal: AbortSignal;
  /** Hears of the handler's work once it has begun. */
  working?: (work: Promise<unknown>) => void;
}

/** @returns the response's bytes, or why there are none: it never rejects */
export type Answer = (asked: Asked) => Promise<Buffer | Refusal>;

/** Answers the calls of one method by its action, called through the broker like any other call. */
export function answerer(broker: ServiceBroker, method: Method, service: Service): Answer {
  const emptiable = emptyMeansAbsent(method, service);

  function decoded(request: Buffer): Plain {
    try {
      const params = method.request.decode(request);
      for (const name of emptiable) if (isEmpty(params[name])) delete params[name];
      return params;
    } catch (error) {
      throw invalidParams(error);
    }
  }

  /** As the transporter would make it: the caller's context on this node. The retries are the caller's. */
  function contextOf({ peer, facts, timeoutMs, signal, working }: Asked, params: Plain): Context {
    const { parentID, level, ...rest } = facts;
    const options = { ...rest, timeout: timeoutMs, retries: 0 };
    const ctx = broker.ContextFactory.create(broker, null as never, params, options);
    Object.assign(ctx.locals, { peer, wire: "grpc", signal, ...(working && { working }) } satisfies Locals);
    return Object.assign(ctx, { level, parentID: parentID ?? null });
  }

  return async (asked) => {
    try {
      const params = decoded(asked.request);
      const ctx = contextOf(asked, params);
      // By its id, or the broker would balance the call away to another node.
      const result = await broker.call(method.action, params, { ctx, nodeID: broker.nodeID } as object);
      const bytes = method.response.encode(result);
      if (bytes.length > MAX_MESSAGE_BYTES) throw new Error(`the answer has ${bytes.length} bytes`);
      return bytes;
    } catch (error) {
      if (!isForCallers(error)) broker.logger.error(`${method.action} failed over the bridge`, error);
      return toRefusal(broker, error);
    }
  };
}

/** An absent list or map looks like an empty one on the wire; where the action lets it be absent, it is. */
function emptyMeansAbsent(method: Method, service: Service): string[] {
  const action = service.schema.actions?.[method.rawAction];
  const params = (typeof action === "object" ? action.params : undefined) as
    | Record<string, Plain>
    | undefined;
  const many = [...method.request.shape.fields.values()].filter((field) => field.many !== "one");
  return many.map(({ name }) => name).filter((name) => params?.[name]?.optional === true);
}

function isEmpty(value: unknown): boolean {
  return typeof value === "object" && value !== null && Object.keys(value).length === 0;
}
