import { afterAll, beforeAll, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import type { Mail, Mailer } from "./port.ts";

/** Enough for any answer on a busy machine. */
const TIMEOUT_MS = 30_000;
/** Long enough for a local server, short enough for the test that waits for it. */
const HANGING_TIMEOUT_MS = 600;

/** How the mail server answers mails to an address. */
export type MailTrouble = "none" | "no_such_user" | "busy" | "hanging";

interface Received {
  to: string[];
  subject: string;
  text: string;
  html: string;
  messageId: string;
  raw: string;
}

export interface MailHarness {
  mailer: Mailer;
  /** An address for which the server answers the next mail so. */
  address(trouble: MailTrouble): string | Promise<string>;
  received(): Received[] | Promise<Received[]>;
  stop(): Promise<void>;
}

/** The conformance suite of every mailer. Call it inside a `describe`. */
export function mailerConformance(start: () => Promise<MailHarness>): void {
  let harness: MailHarness;
  beforeAll(async () => {
    harness = await start();
  });
  afterAll(async () => {
    harness.mailer.close();
    await harness.stop();
  });

  const mail = async (trouble: MailTrouble, change: Partial<Mail> = {}): Promise<Mail> => ({
    to: await harness.address(trouble),
    subject: "Ihr Code für Zoë",
    text: "Guten Tag\n\n123456",
    html: "<p>Guten Tag <b>123456</b></p>",
    messageId: `${newId()}@waybill.test`,
    language: "de",
    ...change,
  });
  const receivedOf = async ({ messageId }: Mail) =>
    (await harness.received()).filter((one) => one.messageId.includes(messageId));

  it("send, to a mailbox, arrives with its subject, text, markup and message id", async () => {
    const one = await mail("none");
    expect(await harness.mailer.send(one, TIMEOUT_MS)).toMatchObject({ outcome: "accepted" });
    expect(await receivedOf(one)).toEqual([
      expect.objectContaining({
        to: [one.to],
        subject: one.subject,
        html: expect.stringContaining("123456"),
      }),
    ]);
  });

  it.each([
    ["letters of many scripts", "Bestellung für Łukasz Žižek, 山田太郎 и Ναυσικά", "Grüße, 你好, שלום"],
    ["pictures, and characters that join", "Unterwegs 🚴🏽‍♀️ nach Curaçao", "👩‍👩‍👧 Zoë ist da"],
    ["a subject longer than a line", `${"Straße des 17. Juni, ".repeat(12)}Berlin`, "x".repeat(3_000)],
    ["lines that begin with dots", "Dots", ".\r\n..\r\n.end"],
  ])("send, with %s, arrives as it was written", async (_, subject, text) => {
    const one = await mail("none", { subject, text, html: `<p>${text}</p>` });
    expect(await harness.mailer.send(one, TIMEOUT_MS)).toMatchObject({ outcome: "accepted" });
    const [received] = await receivedOf(one);
    expect(received?.subject).toBe(subject);
    expect(received?.text.replaceAll("\r\n", "\n").trimEnd()).toBe(text.replaceAll("\r\n", "\n"));
    expect(received?.html.replaceAll("\r\n", "\n")).toContain(text.replaceAll("\r\n", "\n"));
  });

  it("send, of the same mail again, keeps its id, by which a mailbox drops the repeat", async () => {
    const one = await mail("none");
    await harness.mailer.send(one, TIMEOUT_MS);
    await harness.mailer.send(one, TIMEOUT_MS);
    const ids = (await receivedOf(one)).map(({ raw }) => /^message-id: (.*)$/im.exec(raw)?.[1]?.trim());
    expect(ids).toEqual([`<${one.messageId}>`, `<${one.messageId}>`]);
  });

  it("send, of several at once, delivers each of them once", async () => {
    const many = await Promise.all(Array.from({ length: 10 }, () => mail("none")));
    const results = await Promise.all(many.map((one) => harness.mailer.send(one, TIMEOUT_MS)));
    expect(results.map(({ outcome }) => outcome)).toEqual(many.map(() => "accepted"));
    for (const one of many) expect(await receivedOf(one)).toHaveLength(1);
  });

  it("send, with line breaks in the subject, adds no header", async () => {
    const one = await mail("none", { subject: "Hello\r\nBcc: thief@example.org\r\n\r\nother text" });
    await harness.mailer.send(one, TIMEOUT_MS);
    const [received] = await receivedOf(one);
    expect(received?.to).toEqual([one.to]);
    expect(received?.raw).not.toMatch(/^bcc:/im);
  });

  it.each([
    "a@example.org, b@example.org",
    "a@example.org\r\nRCPT TO:<b@example.org>",
    "Name <a@example.org>",
    "a@example.org>",
    "nobody",
    "",
  ])("send, to %j, is refused for good before it reaches the server", async (to) => {
    const before = (await harness.received()).length;
    expect(await harness.mailer.send(await mail("none", { to }), TIMEOUT_MS)).toMatchObject({
      outcome: "refused",
      retryable: false,
    });
    expect(await harness.received()).toHaveLength(before);
  });

  it("send, to a mailbox that does not exist, is refused for good", async () => {
    expect(await harness.mailer.send(await mail("no_such_user"), TIMEOUT_MS)).toMatchObject({
      outcome: "refused",
      retryable: false,
    });
  });

  it("send, while the server is busy, is refused and may be tried again", async () => {
    expect(await harness.mailer.send(await mail("busy"), TIMEOUT_MS)).toMatchObject({
      outcome: "refused",
      retryable: true,
    });
  });

  it("send, without an answer after the text, is unclear at its timeout", async () => {
    const startedMs = performance.now();
    expect(await harness.mailer.send(await mail("hanging"), HANGING_TIMEOUT_MS)).toMatchObject({
      outcome: "unclear",
      retryable: true,
    });
    expect(performance.now() - startedMs).toBeLessThan(TIMEOUT_MS / 2);
  });

  it("send, once the server is stopped, fails and may be tried again", async () => {
    await harness.stop();
    const result = await harness.mailer.send(await mail("none"), TIMEOUT_MS);
    expect(result).toMatchObject({ retryable: true });
    expect(result.outcome).not.toBe("accepted");
  });
}
