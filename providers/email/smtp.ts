import { createTransport } from "nodemailer";
import { shortenLine } from "../../lib/text.ts";
import { withTimeout } from "../../lib/timeout.ts";
import type { Mail, Mailer, MailResult } from "./port.ts";

const CONNECTIONS_MAX = 3;
const CONNECTION_TIMEOUT_MS = 2_000;
const SOCKET_TIMEOUT_MS = 10_000;
const IDLE_TIMEOUT_MS = 30_000;
const DETAIL_MAX = 300;

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;
// Nothing but one bare address: no list, no name, no comment, no line break that would start a header.
const ADDRESS = /^[^\s<>(),;:"\\[\]@\p{Cc}]+@[^\s<>(),;:"\\[\]@\p{Cc}]+$/u;

interface SmtpError extends Error {
  code?: string;
  command?: string;
  responseCode?: number;
  response?: string;
  permanent?: boolean;
}

/**
 * Mail by SMTP, over a few kept connections.
 * @param url `smtp://user:password@host:587` (STARTTLS where the server offers it, and always before a password
 * leaves this machine) or `smtps://…`; a certificate that is not vouched for is refused
 * @param from `Name <address>`
 */
export function smtp({ url, from }: { url: string; from: string }): Mailer {
  const { protocol, hostname, port, username, password } = new URL(url);
  const secure = protocol === "smtps:";
  const transport = createTransport(
    {
      pool: true,
      host: hostname.replace(/^\[|\]$/g, ""),
      port: Number(port) || (secure ? 465 : 587),
      secure,
      // Who tears STARTTLS out of a greeting must not get the password.
      requireTLS: !secure && username !== "" && !LOOPBACK.test(hostname),
      auth: username ? { user: decodeURIComponent(username), pass: decodeURIComponent(password) } : undefined,
      maxConnections: CONNECTIONS_MAX,
      // A requeue inside the pool would be a second try that the history does not know.
      maxRequeues: 0,
      connectionTimeout: CONNECTION_TIMEOUT_MS,
      greetingTimeout: CONNECTION_TIMEOUT_MS,
      socketTimeout: SOCKET_TIMEOUT_MS,
      idleTimeout: IDLE_TIMEOUT_MS,
      disableFileAccess: true,
      disableUrlAccess: true,
    },
    { from },
  );
  // A pool without a listener would end the process when an idle connection breaks.
  transport.on("error", () => undefined);
  return {
    name: "smtp",
    async send(mail, timeoutMs) {
      if (!ADDRESS.test(mail.to)) {
        return { outcome: "refused", retryable: false, detail: "not an e-mail address" };
      }
      try {
        const { response } = await withTimeout(timeoutMs, (signal) =>
          transport.sendMail({ ...envelope(mail), signal }),
        );
        return { outcome: "accepted", retryable: false, detail: shortenLine(response, DETAIL_MAX) };
      } catch (error) {
        return failed(error as SmtpError);
      }
    },
    close: () => transport.close(),
  };
}

function envelope({ to, subject, text, html, messageId, language }: Mail) {
  return {
    to: { name: "", address: to },
    subject: subject.replace(/[\r\n]+/g, " "),
    text,
    html,
    messageId: `<${messageId}>`,
    headers: {
      "Content-Language": language,
      // RFC 3834: no holiday answers to a machine.
      "Auto-Submitted": "auto-generated",
    },
  };
}

function failed(error: SmtpError): MailResult {
  const detail = shortenLine(error.response ?? `${error.code ?? error.name}: ${error.message}`, DETAIL_MAX);
  // The mail is right and the account is wrong: somebody will mend that.
  if (error.code === "EAUTH") return { outcome: "refused", retryable: true, detail };
  if (error.responseCode !== undefined) {
    return { outcome: "refused", retryable: error.permanent === false, detail };
  }
  // Only after DATA can the server have the mail although it did not say so.
  const unclear = error.command === "DATA" || error.name === "TimeoutError" || error.code === "EABORT";
  return { outcome: unclear ? "unclear" : "refused", retryable: true, detail };
}
