import { type ServerDuplexStream, status as Status } from "@grpc/grpc-js";
import type { ServiceBroker } from "moleculer";
import { authenticate } from "./authentication.ts";
import { CANCELLED, type CallHandler } from "./call-handler.ts";
import { MAX_STREAM_CALLS, MAX_STREAM_PENDING_BYTES } from "./channel-options.ts";
import { type CallFrame, decodeBatch, type Frame, frameWriter } from "./frame-writer.ts";
import { fromCallMetadata } from "./metadata.ts";
import type { BridgeSettings } from "./options.ts";
import type { RpcStatus } from "./rpc-status.ts";

type Stream = ServerDuplexStream<Buffer, Buffer>;

export const STOPPING: RpcStatus = { code: Status.UNAVAILABLE, details: "This node is stopping." };

/** The server half of all peer streams to this node. */
export interface PeerStreamServer {
  handle(stream: Stream): void;
  /** Accepts no more calls; each stream ends after its running calls. */
  drain(): void;
}

/** @param handlerOf finds the handler of a method by its path */
export function peerStreamServer(
  broker: ServiceBroker,
  settings: BridgeSettings,
  handlerOf: (path: string) => CallHandler | undefined,
): PeerStreamServer {
  const { names, meta, errors, maxCallMs } = settings;
  /** Created once: it is attached to every call and rarely thrown. */
  const cancelled = errors.create("DEADLINE_EXCEEDED", CANCELLED);
  const drains = new Set<() => void>();
  /** Running handlers of each peer over all its streams, those of cancelled calls included. */
  const running = new Map<string, number>();
  let isDraining = false;

  function occupy(peer: string): () => void {
    running.set(peer, (running.get(peer) ?? 0) + 1);
    return () => {
      const left = (running.get(peer) ?? 1) - 1;
      if (left > 0) running.set(peer, left);
      else running.delete(peer);
    };
  }

  function serve(stream: Stream, peer: string): void {
    const calls = new Map<number, AbortController>();
    const writer = frameWriter(stream, () => stream.resume());
    let hasEnded = false;

    function refuse(id: number, { code, details, error = Buffer.alloc(0) }: RpcStatus): void {
      writer.write({ id, status: { code, details, error } }, error.length);
    }

    function start(id: number, call: CallFrame): void {
      const handler = handlerOf(call.path);
      const refusal = refusalOf(call, handler !== undefined, running.get(peer) ?? 0, isDraining);
      if (refusal) {
        refuse(id, refusal);
        return;
      }
      const cancellation = new AbortController();
      calls.set(id, cancellation);
      const release = occupy(peer);
      let work: Promise<unknown> = Promise.resolve();
      const incoming = {
        ...{ peer, request: call.request, signal: cancellation.signal },
        context: fromCallMetadata(call.metadata, names, meta),
        timeoutMs: Math.min(call.timeoutMs, maxCallMs),
        working: (handler: Promise<unknown>) => {
          work = handler.catch(() => undefined);
        },
      };
      void (handler as CallHandler)(incoming).then((result) => {
        // The place is released when the handler has ended, which may be after a timeout.
        work.then(release, release);
        if (!calls.delete(id)) return;
        if (Buffer.isBuffer(result)) writer.write({ id, response: result }, result.length);
        else {
          // After a timeout of the broker the handler still runs.
          cancellation.abort(cancelled);
          refuse(id, result);
        }
        endWhenIdle();
      });
    }

    function receive({ id, call, cancel }: Frame): void {
      if (call) start(id, call);
      if (!cancel) return;
      calls.get(id)?.abort(cancelled);
      calls.delete(id);
      endWhenIdle();
    }

    function endWhenIdle(): void {
      if ((hasEnded || isDraining) && calls.size === 0) writer.end();
    }

    function close(): void {
      drains.delete(endWhenIdle);
      writer.discard();
      for (const call of calls.values()) call.abort(cancelled);
      calls.clear();
    }

    stream.on("data", (bytes: Buffer) => {
      const frames = decodeBatch(bytes);
      if (!frames) {
        broker.logger.error(`${peer} sent no valid batch on its peer stream: the stream is closed`);
        close();
        stream.emit("error", { code: Status.INVALID_ARGUMENT, details: "No valid batch." });
        return;
      }
      for (const frame of frames) receive(frame);
      if (writer.pendingBytes() > MAX_STREAM_PENDING_BYTES) stream.pause();
    });
    stream.on("end", () => {
      hasEnded = true;
      endWhenIdle();
    });
    stream.on("cancelled", close);
    stream.on("close", close);
    drains.add(endWhenIdle);
  }

  return {
    handle(stream) {
      const peer = authenticate(stream, names.peerStream, settings, () => true);
      if (peer === undefined) {
        broker.logger.warn(`${stream.getPeer()} is no node of this cluster: its peer stream is refused`);
        stream.emit("error", { code: Status.UNAUTHENTICATED, details: "Not a node of this cluster." });
      } else if (isDraining) stream.emit("error", STOPPING);
      else serve(stream, peer);
    },
    drain() {
      isDraining = true;
      for (const endWhenIdle of drains) endWhenIdle();
    },
  };
}

/** @returns the reason why a call is refused before its handler starts */
function refusalOf(
  { path, timeoutMs }: CallFrame,
  isKnown: boolean,
  running: number,
  isDraining: boolean,
): RpcStatus | undefined {
  if (isDraining) return STOPPING;
  if (!isKnown) return { code: Status.UNIMPLEMENTED, details: `There is no ${path} here.` };
  if (timeoutMs <= 0) return { code: Status.DEADLINE_EXCEEDED, details: "The deadline has passed." };
  if (running >= MAX_STREAM_CALLS) {
    return { code: Status.RESOURCE_EXHAUSTED, details: "Too many calls at once." };
  }
  return undefined;
}
