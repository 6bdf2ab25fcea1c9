import { describe, expect, it } from "@jest/globals";
import type { StreamInfo } from "nats";
import {
  checkpointOf,
  lossSince,
  parseCheckpoint,
} from "../../providers/message-bus/jetstream-checkpoint.ts";

const HOUR_MS = 3_600_000;
const NOW_MS = Date.parse("2026-11-22T12:00:00Z");

function stream(state: Partial<StreamInfo["state"]>, created = "2026-11-01T00:00:00Z"): StreamInfo {
  return {
    created,
    config: { max_age: 72 * HOUR_MS * 1_000_000 },
    state: { first_seq: 1, last_seq: 100, last_ts: "2026-11-22T11:59:00Z", num_deleted: 0, ...state },
  } as unknown as StreamInfo;
}

const noted = checkpointOf(stream({}));

describe("an outbox's checkpoint, compared with the stream,", () => {
  it.each([
    ["as it was", stream({})],
    ["with new messages", stream({ last_seq: 5_000 })],
    ["without its oldest messages, which were old enough", stream({ first_seq: 90 })],
    ["with all gone, the newest too because it was old", stream({ first_seq: 101 }), 80],
  ])("%s, shows no loss", (_how, now, hoursLater = 0) => {
    expect(lossSince(noted, now, NOW_MS + hoursLater * HOUR_MS)).toBeUndefined();
  });

  it.each([
    ["created again", stream({}, "2026-11-22T11:59:30Z"), "created again"],
    ["with a sequence that went back", stream({ last_seq: 99 }), "went back from 100 to 99"],
    ["with a hole", stream({ num_deleted: 1 }), "deleted"],
    ["emptied although its messages were young", stream({ first_seq: 101 }), "purged"],
    ["emptied and filled again", stream({ first_seq: 101, last_seq: 300 }), "purged"],
  ])("%s, shows a loss with its reason", (_how, now, why) => {
    expect(lossSince(noted, now, NOW_MS)).toContain(why);
  });

  it("of an empty stream, shows no loss while the stream fills", () => {
    const empty = checkpointOf(stream({ first_seq: 0, last_seq: 0, last_ts: "0001-01-01T00:00:00Z" }));
    expect(lossSince(empty, stream({}), NOW_MS)).toBeUndefined();
  });

  it("is read as it was written, and invalid text is none", () => {
    expect(parseCheckpoint(JSON.stringify(noted))).toEqual(noted);
    for (const text of [undefined, "", "{}", "null", "[]", '{"created":1}']) {
      expect(parseCheckpoint(text)).toBeUndefined();
    }
  });
});
