import type { AddressInfo, Server } from "node:net";
import { describe, expect, it } from "@jest/globals";
import PostalMime from "postal-mime";
import { SMTPServer } from "smtp-server";
import { type MailHarness, mailerConformance } from "../../providers/email/conformance.ts";
import { smtp } from "../../providers/email/smtp.ts";
import { mailSamples } from "../support/mail-samples.ts";

const FROM = "Waybill <no-reply@waybill.test>";

function smtpError(responseCode: number, message: string): Error {
  return Object.assign(new Error(message), { responseCode });
}

async function startHarness(): Promise<MailHarness> {
  const received: Awaited<ReturnType<MailHarness["received"]>> = [];
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ["STARTTLS"],
    closeTimeout: 50,
    onRcptTo({ address }, _session, done) {
      if (address.startsWith("no_such_user")) return done(smtpError(550, "5.1.1 no such user"));
      if (address.startsWith("busy")) return done(smtpError(451, "4.3.2 try later"));
      return done();
    },
    onData(stream, session, done) {
      const chunks: Buffer[] = [];
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
      stream.on("end", async () => {
        const to = session.envelope.rcptTo.map(({ address }) => address);
        if (to[0]?.startsWith("hanging")) return;
        const raw = Buffer.concat(chunks).toString("utf8");
        const { subject = "", text = "", html = "", messageId = "" } = await PostalMime.parse(raw);
        received.push({ to, subject, text, html, messageId, raw });
        done(null);
      });
    },
  });
  server.on("error", () => undefined);
  const net = await new Promise<Server>((resolve) => {
    const listening = server.listen(0, "127.0.0.1", () => resolve(listening));
  });
  const url = `smtp://127.0.0.1:${(net.address() as AddressInfo).port}`;
  return {
    mailer: smtp({ url, from: FROM }),
    address: (trouble) => `${trouble}@example.org`,
    received: () => received,
    stop: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

describe("mailer smtp", () => {
  mailerConformance(startHarness);

  it.each(Object.entries(mailSamples))(
    "send, of %s, arrives as alternatives that are word for word what was rendered",
    async (_, { subject, text, html, language }) => {
      const harness = await startHarness();
      const mail = { to: "zoe@example.org", subject, text, html, language, messageId: "m@waybill.test" };
      expect(await harness.mailer.send(mail, 30_000)).toMatchObject({ outcome: "accepted" });
      harness.mailer.close();
      const [received] = await harness.received();
      await harness.stop();
      const written = [received?.subject, received?.text.trimEnd(), received?.html.trimEnd()];
      expect(written).toEqual([subject, text, html]);
      const raw = received?.raw ?? "";
      const types = [...raw.matchAll(/^content-type: ([a-z/]+)/gim)].map(([, type]) => type);
      expect(types).toEqual(["multipart/alternative", "text/plain", "text/html"]);
      expect(raw).toMatch(new RegExp(`^content-language: ${language}$`, "im"));
      // RFC 5322, 2.1.1: no line is longer than 998 characters.
      expect(Math.max(...raw.split("\r\n").map(({ length }) => length))).toBeLessThanOrEqual(998);
      expect(raw.length).toBeLessThan(30_000);
    },
  );

  it("send, to a server that never greets, is refused in time and may be tried again", async () => {
    const { createServer } = await import("node:net");
    const silent = createServer();
    await new Promise<void>((resolve) => {
      silent.listen(0, "127.0.0.1", resolve);
    });
    const mailer = smtp({ url: `smtp://127.0.0.1:${(silent.address() as AddressInfo).port}`, from: FROM });
    const mail = {
      to: "a@example.org",
      subject: "s",
      text: "t",
      html: "h",
      messageId: "m@x",
      language: "en",
    };
    const result = await mailer.send(mail, 300);
    expect(result).toMatchObject({ retryable: true });
    mailer.close();
    silent.close();
  });
});
