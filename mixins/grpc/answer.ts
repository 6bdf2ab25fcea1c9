import { type ServerUnaryCall, status as Status, type sendUnaryData } from "@grpc/grpc-js";
import type { Context, Service, ServiceBroker } from "moleculer";
import { fail } from "../../contracts/errors.ts";
import type { Locals } from "../../contracts/meta.ts";
import type { Clock } from "../../lib/clock.ts";
import { MAX_MESSAGE_BYTES } from "./channel-options.ts";
import { CREDENTIAL_KEY, provenNode } from "./credential.ts";
import { bareRefusal, invalidParams, isForCallers, type Refusal, toRefusal } from "./errors.ts";
import { fromMetadata } from "./metadata.ts";
import type { Method } from "./proto-catalogue.ts";

/** What `signal.throwIfAborted()` throws; one for all, since grpc-js says "cancelled" at the end of every call. */
const GONE = fail("DEADLINE_EXCEEDED", "Whoever called waits no longer.");

/** How long a call may take that names no deadline, or one further off. */
const MAX_BUDGET_MS = 5_000;

type Call = ServerUnaryCall<Buffer, Buffer>;
type Plain = Record<string, unknown>;

export interface AnswerOptions {
  broker: ServiceBroker;
  secret: string;
  previousSecret?: string | undefined;
  clock: Clock;
}

/** Answers the calls of one method by its action, called through the broker like any other call. */
export function answerer(options: AnswerOptions, method: Method, service: Service) {
  const { broker, secret, previousSecret, clock } = options;
  const emptiable = emptyMeansAbsent(method, service);

  /** @returns why the call is not even tried */
  function refused(call: Call, peer: string | undefined, timeoutMs: number): Refusal | undefined {
    if (peer === undefined) return bareRefusal(Status.UNAUTHENTICATED, "No valid credential.");
    if (timeoutMs <= 0 || call.cancelled) return bareRefusal(Status.DEADLINE_EXCEEDED, "Too late.");
    return undefined;
  }

  function decoded(call: Call): Plain {
    try {
      const params = method.request.decode(call.request);
      for (const name of emptiable) if (isEmpty(params[name])) delete params[name];
      return params;
    } catch (error) {
      throw invalidParams(error);
    }
  }

  /** As the transporter would make it: the caller's context on this node. The retries are the caller's. */
  function contextOf(call: Call, peer: string, params: Plain, timeoutMs: number): Context {
    const { parentID, level, ...facts } = fromMetadata(call.metadata);
    const options = { ...facts, timeout: timeoutMs, retries: 0 };
    const ctx = broker.ContextFactory.create(broker, null as never, params, options);
    const gone = new AbortController();
    call.once("cancelled", () => gone.abort(GONE));
    Object.assign(ctx.locals, { peer, wire: "grpc", signal: gone.signal } satisfies Locals);
    return Object.assign(ctx, { level, parentID: parentID ?? null });
  }

  async function run(call: Call, peer: string, timeoutMs: number): Promise<Buffer> {
    const params = decoded(call);
    const ctx = contextOf(call, peer, params, timeoutMs);
    // By its id, or the broker would balance the call away to another node.
    const result = await broker.call(method.action, params, { ctx, nodeID: broker.nodeID } as object);
    const bytes = method.response.encode(result);
    if (bytes.length > MAX_MESSAGE_BYTES) throw new Error(`the answer has ${bytes.length} bytes`);
    return bytes;
  }

  return async (call: Call, respond: sendUnaryData<Buffer>): Promise<void> => {
    const { path } = method;
    const peer = provenNode(call.metadata.get(CREDENTIAL_KEY)[0], { secret, previousSecret, path, clock });
    const timeoutMs = budgetMs(call);
    const refusal = refused(call, peer, timeoutMs);
    if (refusal) {
      respond(refusal);
      return;
    }
    await run(call, peer as string, timeoutMs).then(
      (bytes) => respond(null, bytes),
      (error) => {
        if (!isForCallers(error)) broker.logger.error(`${method.action} failed over the bridge`, error);
        respond(toRefusal(broker, error));
      },
    );
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

function budgetMs(call: Call): number {
  const deadline = call.getDeadline();
  const atMs = typeof deadline === "number" ? deadline : deadline.getTime();
  return Math.min(atMs - Date.now(), MAX_BUDGET_MS);
}
