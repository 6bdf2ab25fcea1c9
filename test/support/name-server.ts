import { createSocket } from "node:dgram";
import type { AddressInfo } from "node:net";

/** The kinds of records that the platform asks for, as the DNS numbers them. */
const KINDS: Readonly<Record<number, string>> = { 1: "A", 2: "NS", 28: "AAAA" };
const HEAD_BYTES = 12;
const REFUSED = 5;
const NO_SUCH_NAME = 3;

/** `silence`: no answer at all. */
export type NameAnswer = readonly string[] | "silence" | "refused" | "no such name";

/**
 * A name server. @param answerOf what it says of a name (`` is the root) and a kind of record; addresses of IPv6 are
 * written in full
 */
export async function startNameServer(answerOf: (name: string, kind: string) => NameAnswer) {
  const asked: string[] = [];
  const socket = createSocket("udp4", (query, { port, address }) => {
    const labels: string[] = [];
    let at = HEAD_BYTES;
    for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
      labels.push(query.toString("latin1", at + 1, at + 1 + length));
      at += 1 + length;
    }
    const question = query.subarray(HEAD_BYTES, at + 5);
    const kind = query.readUInt16BE(at + 1);
    const name = labels.join(".");
    asked.push(`${KINDS[kind]} ${name}`);
    const answer = answerOf(name, KINDS[kind] ?? "");
    if (answer === "silence") return;
    const records = typeof answer === "string" ? [] : answer;
    const code = answer === "refused" ? REFUSED : answer === "no such name" ? NO_SUCH_NAME : 0;
    const head = Buffer.alloc(HEAD_BYTES);
    query.copy(head, 0, 0, 2);
    head.writeUInt16BE(0x8180 | code, 2);
    head.writeUInt16BE(1, 4);
    head.writeUInt16BE(records.length, 6);
    socket.send(Buffer.concat([head, question, ...records.map((text) => record(kind, text))]), port, address);
  });
  await new Promise<void>((bound) => socket.bind(0, "127.0.0.1", bound));
  return {
    url: `127.0.0.1:${(socket.address() as AddressInfo).port}`,
    /** Every question: `A shop.example`. */
    asked,
    stop: () => new Promise<void>((closed) => socket.close(closed)),
  };
}

/** A record about the name of the question, valid for no time. */
function record(kind: number, text: string): Buffer {
  const data =
    kind === 1
      ? Buffer.from(text.split(".").map(Number))
      : Buffer.from(
          text
            .split(":")
            .map((group) => group.padStart(4, "0"))
            .join(""),
          "hex",
        );
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUInt16BE(0xc00c, 0);
  head.writeUInt16BE(kind, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(data.length, 10);
  return Buffer.concat([head, data]);
}
