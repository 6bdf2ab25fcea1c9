import { afterAll, beforeAll, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import type { Mail, Mailer } from "./port.ts";

const TIMEOUT_MS = 400;

/** What the server under the mailer says to the mails of an address. */
export type MailTrouble = "none" | "no_such_user" | "busy" | "hanging";

export interface MailHarness {
  mailer: Mailer;
  address(trouble: MailTrouble): string;
  received(): { to: string[]; subject: string; text: string; html: string; messageId: string; raw: string }[];
  stop(): Promise<void>;
}

/** What every mailer keeps. Called inside a `describe`. */
export function mailContract(start: () => Promise<MailHarness>): void {
  let harness: MailHarness;
  beforeAll(async () => {
    harness = await start();
  });
  afterAll(async () => {
    harness.mailer.close();
    await harness.stop();
  });

  const mail = (trouble: MailTrouble, change: Partial<Mail> = {}): Mail => ({
    to: harness.address(trouble),
    subject: "Ihr Code für Zoë",
    text: "Guten Tag\n\n123456",
    html: "<p>Guten Tag <b>123456</b></p>",
    messageId: `${newId()}@waybill.test`,
    language: "de",
    ...change,
  });
  const receivedOf = ({ messageId }: Mail) =>
    harness.received().filter((one) => one.messageId.includes(messageId));

  it("send, to a mailbox, arrives with its subject, text, markup and message id", async () => {
    const one = mail("none");
    expect(await harness.mailer.send(one, TIMEOUT_MS)).toMatchObject({ outcome: "accepted" });
    expect(receivedOf(one)).toEqual([
      expect.objectContaining({
        to: [one.to],
        subject: one.subject,
        html: expect.stringContaining("123456"),
      }),
    ]);
  });

  it("send, with line breaks in the subject, adds no header", async () => {
    const one = mail("none", { subject: "Hello\r\nBcc: thief@example.org\r\n\r\nother text" });
    await harness.mailer.send(one, TIMEOUT_MS);
    const [received] = receivedOf(one);
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
  ])("send, to %j, is refused for good before the server hears of it", async (to) => {
    const before = harness.received().length;
    expect(await harness.mailer.send(mail("none", { to }), TIMEOUT_MS)).toMatchObject({
      outcome: "refused",
      retryable: false,
    });
    expect(harness.received()).toHaveLength(before);
  });

  it("send, to a mailbox that does not exist, is refused for good", async () => {
    expect(await harness.mailer.send(mail("no_such_user"), TIMEOUT_MS)).toMatchObject({
      outcome: "refused",
      retryable: false,
    });
  });

  it("send, while the server is busy, is refused and may be tried again", async () => {
    expect(await harness.mailer.send(mail("busy"), TIMEOUT_MS)).toMatchObject({
      outcome: "refused",
      retryable: true,
    });
  });

  it("send, when no word comes after the text, is unclear at its timeout", async () => {
    const startedMs = performance.now();
    expect(await harness.mailer.send(mail("hanging"), TIMEOUT_MS)).toMatchObject({
      outcome: "unclear",
      retryable: true,
    });
    expect(performance.now() - startedMs).toBeLessThan(TIMEOUT_MS * 3);
  });

  it("send, once the server is gone, is refused and may be tried again", async () => {
    await harness.stop();
    const result = await harness.mailer.send(mail("none"), TIMEOUT_MS);
    expect(result).toMatchObject({ retryable: true });
    expect(result.outcome).not.toBe("accepted");
  });
}
