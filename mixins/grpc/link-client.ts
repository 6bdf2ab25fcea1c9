import {
  type Client,
  type ClientDuplexStream,
  Metadata,
  status as Status,
  type StatusObject,
} from "@grpc/grpc-js";
import type { Clock } from "../../lib/clock.ts";
import { LINK_PATH, MAX_LINK_CALLS, MAX_LINK_WAITING_BYTES } from "./channel-options.ts";
import { bridgeCredential, CREDENTIAL_KEY } from "./credential.ts";
import type { Refusal } from "./errors.ts";
import { type Frame, fromBatch } from "./link-frames.ts";
import { outgoing } from "./link-outgoing.ts";
import { linkOpener, linkSealer, NONCE_KEY } from "./link-seal.ts";

export interface LinkOptions {
  /** BRIDGE_SECRET. */
  secret: string;
  /** Who calls. */
  node: string;
  clock: Clock;
}

export interface Ask {
  path: string;
  facts: Record<string, string>;
  request: Buffer;
  /** How long the answer is waited for. */
  timeoutMs: number;
}

/** The asking half of one link: a stream that carries all calls of this node to another. */
export interface Link {
  /** Whether it takes calls still. */
  isOpen(): boolean;
  /** @returns the answer's bytes @throws Refusal, DEADLINE_EXCEEDED and UNAVAILABLE among them */
  call(ask: Ask): Promise<Buffer>;
  /** Takes no more calls and ends when those that are under way have ended. */
  retire(): void;
  /** Ends at once. */
  cut(): void;
}

interface Waiting {
  resolve(answer: Buffer): void;
  reject(refusal: Refusal): void;
  timer: NodeJS.Timeout;
  sinceMs: number;
}

/** The other side answers this much earlier that its handler is too slow: no word at all then means that it is stuck. */
const ANSWER_LEAD_MS = 30;
const LATE: Refusal = { code: Status.DEADLINE_EXCEEDED, details: "No answer came in time." };
/** Other calls were answered while this one waited: the node is well, and its handler is slow. */
const SLOW: Refusal = { ...LATE, isAlive: true };

/** Opens a link over a channel. Calls may be made at once: they wait until the other side has answered. */
export function openLink(client: Client, { secret, node, clock }: LinkOptions): Link {
  const credential = bridgeCredential({ secret, path: LINK_PATH, node, clock });
  const metadata = new Metadata();
  metadata.set(CREDENTIAL_KEY, credential);
  const stream: ClientDuplexStream<Buffer, Buffer> = client.makeBidiStreamRequest(
    LINK_PATH,
    asIs,
    asIs,
    metadata,
  );
  const out = outgoing(stream);
  const waiting = new Map<number, Waiting>();
  let open: ReturnType<typeof linkOpener> | undefined;
  let isOpen = true;
  let lastId = 0;
  let heardAtMs = Number.NEGATIVE_INFINITY;

  function take(id: number): Waiting | undefined {
    const found = waiting.get(id);
    if (!found) return undefined;
    waiting.delete(id);
    clearTimeout(found.timer);
    return found;
  }

  function giveUp(id: number): void {
    const found = take(id);
    found?.reject(heardAtMs > found.sinceMs ? SLOW : LATE);
    if (!out.withdraw(id)) out.add({ id, cancel: true }, 0);
    endWhenIdle();
  }

  function endWhenIdle(): void {
    if (!isOpen && waiting.size === 0) out.end();
  }

  function hear({ id, answer, refusal }: Frame): void {
    if (answer) take(id)?.resolve(answer);
    else if (refusal) take(id)?.reject(refusal);
  }

  function over(code: Status, details: string): void {
    isOpen = false;
    out.cut();
    for (const id of [...waiting.keys()]) take(id)?.reject({ code, details });
  }

  /** The other side is none of ours. */
  function distrust(): void {
    over(Status.UNAUTHENTICATED, "The other side of the link has no valid seal.");
    stream.cancel();
  }

  stream.on("metadata", (answered: Metadata) => {
    const [nonce] = answered.get(NONCE_KEY);
    if (!Buffer.isBuffer(nonce)) return distrust();
    const secrets = { secret, credential, nonce };
    open = linkOpener("answered", secrets);
    out.begin(linkSealer("asked", secrets));
  });
  stream.on("data", (sealed: Buffer) => {
    const bytes = open?.(sealed);
    const frames = bytes && fromBatch(bytes);
    if (!frames) return distrust();
    heardAtMs = performance.now();
    for (const frame of frames) hear(frame);
    endWhenIdle();
  });
  stream.on("error", () => {}); // told by "status" as well
  stream.on("status", ({ code, details }: StatusObject) => {
    // Whoever ends a link in order has answered everything before.
    over(code === Status.OK ? Status.UNAVAILABLE : code, details);
  });

  return {
    isOpen: () => isOpen,
    call: ({ path, facts, request, timeoutMs }) =>
      new Promise((resolve, reject) => {
        if (!isOpen) return reject({ code: Status.UNAVAILABLE, details: "The link is closed." });
        if (waiting.size >= MAX_LINK_CALLS || out.waitingBytes() > MAX_LINK_WAITING_BYTES) {
          return reject({ code: Status.RESOURCE_EXHAUSTED, details: "Too many calls at once." });
        }
        const id = ++lastId;
        const timer = setTimeout(giveUp, timeoutMs, id);
        waiting.set(id, { resolve, reject, timer, sinceMs: performance.now() });
        const theirMs = Math.max(1, timeoutMs - ANSWER_LEAD_MS);
        out.add({ id, call: { path, timeoutMs: theirMs, facts, request } }, request.length);
      }),
    retire() {
      isOpen = false;
      endWhenIdle();
    },
    cut() {
      over(Status.UNAVAILABLE, "The link was closed.");
      stream.cancel();
    },
  };
}

function asIs(bytes: Buffer): Buffer {
  return bytes;
}
