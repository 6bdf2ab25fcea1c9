import { getCACertificates, setDefaultCACertificates } from "node:tls";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { mailerConformance } from "../../providers/email/conformance.ts";
import type { Mail, Mailer } from "../../providers/email/index.ts";
import { smtp } from "../../providers/email/smtp.ts";
import { type Certificate, makeCertificate } from "../servers/certificate.ts";
import { type MailpitOptions, startMailpit } from "../servers/mailpit.ts";
import { eventually } from "../support/eventually.ts";

const FROM = "Wäybill <no-reply@waybill.test>";
const TIMEOUT_MS = 1_000;
const ACCOUNT = { user: "waybill@waybill.test", password: "pass:word/é" };

const stops: (() => unknown)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

async function mailpit(options: MailpitOptions = {}) {
  const server = await startMailpit(options);
  stops.push(() => server.remove());
  return server;
}

function mailerTo(url: string): Mailer {
  const mailer = smtp({ url, from: FROM });
  stops.push(() => mailer.close());
  return mailer;
}

function mail(): Mail {
  return {
    to: "zoe@example.org",
    subject: "Ihr Code für Zoë",
    text: "123456",
    html: "<b>123456</b>",
    messageId: `${newId()}@waybill.test`,
    language: "de",
  };
}

describe("mailer smtp, to mailpit", () => {
  mailerConformance(async () => {
    const server = await startMailpit({ recipients: "^(none|busy|hanging)@" });
    let stopped = false;
    return {
      mailer: smtp({ url: server.url, from: FROM }),
      async address(trouble) {
        const address = `${trouble}@example.org`;
        if (stopped) return address;
        server.thaw();
        await server.refuseRecipients(trouble === "busy" ? 451 : undefined);
        if (trouble === "hanging") server.freeze();
        return address;
      },
      received: () => server.mails(),
      async stop() {
        stopped = true;
        await server.remove();
      },
    };
  });

  it("send, with a name in another script as the sender, arrives from that name", async () => {
    const server = await mailpit();
    const one = mail();
    expect(await mailerTo(server.url).send(one, TIMEOUT_MS)).toMatchObject({ outcome: "accepted" });
    const [received] = await server.mails();
    expect(received).toMatchObject({ from: "no-reply@waybill.test", subject: one.subject });
    expect(received?.raw).toMatch(/^From: =\?UTF-8\?/im);
    expect(received?.raw).toMatch(/^Auto-Submitted: auto-generated$/im);
  });

  it("send, after a restart of the server, succeeds again", async () => {
    const server = await mailpit();
    const mailer = mailerTo(server.url);
    expect(await mailer.send(mail(), TIMEOUT_MS)).toMatchObject({ outcome: "accepted" });
    await server.kill();
    const startedMs = performance.now();
    expect(await mailer.send(mail(), TIMEOUT_MS)).toMatchObject({ outcome: "refused", retryable: true });
    expect(performance.now() - startedMs).toBeLessThan(TIMEOUT_MS + 200);
    await server.start();
    await eventually(async () => {
      expect(await mailer.send(mail(), TIMEOUT_MS)).toMatchObject({ outcome: "accepted" });
    });
  });
});

describe("mailer smtp, to mailpit with TLS", () => {
  const vouched = getCACertificates("default");
  let certificate: Certificate;
  beforeAll(async () => {
    certificate = await makeCertificate();
  });
  afterAll(async () => {
    setDefaultCACertificates(vouched);
    await certificate.remove();
  });
  const vouch = () => {
    setDefaultCACertificates([...vouched, certificate.cert]);
    stops.push(() => setDefaultCACertificates(vouched));
  };

  it.each(["starttls", "tls"] as const)("send, by %s and with an account, is accepted", async (by) => {
    vouch();
    const server = await mailpit({ secure: { by, certificate }, account: ACCOUNT });
    const one = mail();
    const result = await mailerTo(server.url).send(one, TIMEOUT_MS);
    expect(result).toMatchObject({ outcome: "accepted" });
    expect(await server.mails()).toEqual([expect.objectContaining({ subject: one.subject })]);
  });

  it.each(["starttls", "tls"] as const)(
    "send, by %s to a server without a trusted certificate, sends it nothing",
    async (by) => {
      const server = await mailpit({ secure: { by, certificate }, account: ACCOUNT });
      const result = await mailerTo(server.url).send(mail(), TIMEOUT_MS);
      expect(result).toMatchObject({ outcome: "refused", retryable: true });
      expect(result.detail).toMatch(/certificate/i);
      expect(await server.mails()).toEqual([]);
    },
  );

  it("send, with a wrong password, may be tried again, and does not reveal the password", async () => {
    vouch();
    const server = await mailpit({ secure: { by: "starttls", certificate }, account: ACCOUNT });
    const url = new URL(server.url);
    url.password = "not-the-password";
    const result = await mailerTo(url.href).send(mail(), TIMEOUT_MS);
    expect(result).toMatchObject({ outcome: "refused", retryable: true });
    expect(result.detail).not.toContain("not-the-password");
    expect(await server.mails()).toEqual([]);
  });
});
