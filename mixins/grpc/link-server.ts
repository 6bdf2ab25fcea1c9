import { randomBytes } from "node:crypto";
import { Metadata, type ServerDuplexStream, status as Status } from "@grpc/grpc-js";
import { type Answer, type AnswerOptions, GONE, MAX_BUDGET_MS } from "./answer.ts";
import { LINK_PATH, MAX_LINK_CALLS, MAX_LINK_WAITING_BYTES } from "./channel-options.ts";
import { CREDENTIAL_KEY, proven } from "./credential.ts";
import type { Refusal } from "./errors.ts";
import { type CallFrame, type Frame, fromBatch } from "./link-frames.ts";
import { type Outgoing, outgoing } from "./link-outgoing.ts";
import { linkOpener, linkSealer, NONCE_BYTES, NONCE_KEY } from "./link-seal.ts";
import { fromFacts } from "./metadata.ts";

type Stream = ServerDuplexStream<Buffer, Buffer>;
export const STOPPING: Refusal = { code: Status.UNAVAILABLE, details: "This node is being stopped." };

type Opener = ReturnType<typeof linkOpener>;

/** The answering half of all links to this node. */
export interface LinkServer {
  handle(stream: Stream): void;
  /** Takes no more calls; every link ends when what it has under way is answered. */
  drain(): void;
}

/** @param answerOf what answers the calls of a method, by its path */
export function linkServer(
  { broker, secret, previousSecret, clock }: AnswerOptions,
  answerOf: (path: string) => Answer | undefined,
): LinkServer {
  const drains = new Set<() => void>();
  /** Calls of each peer whose handlers are at work, over all its links; also those that nobody waits for any more. */
  const atWork = new Map<string, number>();
  let draining = false;

  function occupy(peer: string): () => void {
    atWork.set(peer, (atWork.get(peer) ?? 0) + 1);
    return () => {
      const left = (atWork.get(peer) ?? 1) - 1;
      if (left > 0) atWork.set(peer, left);
      else atWork.delete(peer);
    };
  }

  function serve(stream: Stream, peer: string, open: Opener): Outgoing {
    const running = new Map<number, AbortController>();
    const out = outgoing(stream, () => stream.resume());
    let ended = false;

    function refuse(id: number, { code, details, error = Buffer.alloc(0) }: Refusal): void {
      out.add({ id, refusal: { code, details, error } }, error.length);
    }

    function start(id: number, call: CallFrame): void {
      const answer = answerOf(call.path);
      const refusal = refusalOf(call, answer !== undefined, atWork.get(peer) ?? 0, draining);
      if (refusal) {
        refuse(id, refusal);
        return;
      }
      const { facts, request, timeoutMs } = call;
      const gone = new AbortController();
      running.set(id, gone);
      const leave = occupy(peer);
      let work: Promise<unknown> = Promise.resolve();
      const asked = {
        ...{ peer, facts: fromFacts(facts), request, signal: gone.signal },
        timeoutMs: Math.min(timeoutMs, MAX_BUDGET_MS),
        working: (handler: Promise<unknown>) => {
          work = handler.catch(() => undefined);
        },
      };
      void (answer as Answer)(asked).then((found) => {
        // The place is free when the handler has ended, and not when somebody stopped waiting for it.
        work.then(leave, leave);
        if (!running.delete(id)) return;
        if (Buffer.isBuffer(found)) out.add({ id, answer: found }, found.length);
        else {
          // Where the broker's own time-out came first, the handler is at work still.
          gone.abort(GONE);
          refuse(id, found);
        }
        endWhenIdle();
      });
    }

    function hear({ id, call, cancel }: Frame): void {
      if (call) start(id, call);
      if (!cancel) return;
      running.get(id)?.abort(GONE);
      running.delete(id);
      endWhenIdle();
    }

    function endWhenIdle(): void {
      if ((ended || draining) && running.size === 0) out.end();
    }

    function hangUp(): void {
      drains.delete(endWhenIdle);
      out.cut();
      for (const gone of running.values()) gone.abort(GONE);
      running.clear();
    }

    stream.on("data", (sealed: Buffer) => {
      const bytes = open(sealed);
      const frames = bytes && fromBatch(bytes);
      if (!frames) {
        broker.logger.error(`${peer} sent over its link what nobody with the secret did: it is cut`);
        hangUp();
        stream.emit("error", { code: Status.UNAUTHENTICATED, details: "No valid seal." });
        return;
      }
      for (const frame of frames) hear(frame);
      if (out.waitingBytes() > MAX_LINK_WAITING_BYTES) stream.pause();
    });
    stream.on("end", () => {
      ended = true;
      endWhenIdle();
    });
    stream.on("cancelled", hangUp);
    stream.on("close", hangUp);
    drains.add(endWhenIdle);
    return out;
  }

  return {
    handle(stream) {
      const credential = stream.metadata.get(CREDENTIAL_KEY)[0];
      const proof = proven(credential, { secret, previousSecret, path: LINK_PATH, clock });
      if (!proof || draining) {
        const stranger = { code: Status.UNAUTHENTICATED, details: "No valid credential." };
        stream.emit("error", proof ? STOPPING : stranger);
        return;
      }
      const nonce = randomBytes(NONCE_BYTES);
      const secrets = { secret: proof.secret, credential: credential as string, nonce };
      const out = serve(stream, proof.node, linkOpener("asked", secrets));
      const metadata = new Metadata();
      metadata.set(NONCE_KEY, nonce);
      stream.sendMetadata(metadata);
      out.begin(linkSealer("answered", secrets));
    },
    drain() {
      draining = true;
      for (const endWhenIdle of drains) endWhenIdle();
    },
  };
}

/** @returns why a call is not even tried */
function refusalOf(
  { path, timeoutMs }: CallFrame,
  known: boolean,
  running: number,
  draining: boolean,
): Refusal | undefined {
  if (draining) return STOPPING;
  if (!known) return { code: Status.UNIMPLEMENTED, details: `There is no ${path} here.` };
  if (timeoutMs <= 0) return { code: Status.DEADLINE_EXCEEDED, details: "Too late." };
  if (running >= MAX_LINK_CALLS) {
    return { code: Status.RESOURCE_EXHAUSTED, details: "Too many calls at once." };
  }
  return undefined;
}
