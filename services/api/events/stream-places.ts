import type { ServerResponse } from "node:http";
import { fail } from "../../../contracts/errors.ts";
import type { Caller } from "../../../contracts/meta.ts";
import { SetsByKey } from "../../../lib/sets-by-key.ts";

const MAX_STREAMS = 2_000;
const MAX_STREAMS_OF_ONE_USER = 10;
/** So that the staff of one partner, however many, never take the places of others. */
const MAX_STREAMS_OF_ONE_PARTNER = 200;

export const streamKinds = ["order", "partner", "courier", "operator"] as const;
export type StreamKind = (typeof streamKinds)[number];

export interface PlaceHolder {
  readonly kind: StreamKind;
  readonly caller: Pick<Caller, "id" | "sessionId" | "partnerId">;
}

/** The open streams of a gateway, of all kinds. */
export interface StreamPlaces {
  /**
   * Takes a place until the response closes. @param end ends the stream
   * @throws OVERLOADED, TOO_MANY_REQUESTS
   */
  take(holder: PlaceHolder, res: ServerResponse, end: () => void): void;
  /** Ends the streams of a session that was signed out, also because its user was suspended or has another role. */
  endSession(sessionId: string): void;
  /** The number of open streams of each kind. */
  counts(): Record<StreamKind, number>;
  /** Counts a stream that was cut because its client does not read. */
  cut(kind: StreamKind): void;
  cuts(): Record<StreamKind, number>;
  /** Ends all streams. Their clients reconnect to another gateway and resume there. */
  close(): void;
}

interface Place extends PlaceHolder {
  end: () => void;
}

const zeros = () => Object.fromEntries(streamKinds.map((kind) => [kind, 0])) as Record<StreamKind, number>;

export function streamPlaces(): StreamPlaces {
  const all = new Set<Place>();
  const byUser = new SetsByKey<string, Place>();
  const byPartner = new SetsByKey<string, Place>();
  const bySession = new SetsByKey<string, Place>();
  const cuts = zeros();

  return {
    take(holder, res, end) {
      const { id, partnerId, sessionId } = holder.caller;
      if (all.size >= MAX_STREAMS) throw fail("OVERLOADED", "Too many streams are open.");
      if (byUser.of(id).size >= MAX_STREAMS_OF_ONE_USER) {
        throw fail("TOO_MANY_REQUESTS", `At most ${MAX_STREAMS_OF_ONE_USER} streams at once.`);
      }
      if (partnerId && byPartner.of(partnerId).size >= MAX_STREAMS_OF_ONE_PARTNER) {
        throw fail("TOO_MANY_REQUESTS", `At most ${MAX_STREAMS_OF_ONE_PARTNER} streams of one partner.`);
      }
      const place = { ...holder, end };
      all.add(place);
      byUser.add(id, place);
      bySession.add(sessionId, place);
      if (partnerId) byPartner.add(partnerId, place);
      res.once("close", () => {
        all.delete(place);
        byUser.delete(id, place);
        bySession.delete(sessionId, place);
        if (partnerId) byPartner.delete(partnerId, place);
      });
    },
    endSession(sessionId) {
      for (const { end } of bySession.of(sessionId)) end();
    },
    counts() {
      const counts = zeros();
      for (const { kind } of all) counts[kind]++;
      return counts;
    },
    cut(kind) {
      cuts[kind]++;
    },
    cuts: () => cuts,
    close() {
      for (const { end } of all) end();
    },
  };
}
