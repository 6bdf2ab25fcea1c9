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
// One address only: no list, name or comment, and no line break, which would start a header.
const ADDRESS = /^[^\s<>(),;:"\\[\]@\p{Cc}]+@[^\s<>(),;:"\\[\]@\p{Cc}]+$/u;

interface SmtpError extends Error {
  code?: string;
  command?: string;
  responseCode?: number;
  response?: string;
  permanent?: boolean;
}

/**
 * Mail by SMTP over a pool of connections.
 * @param url `smtps://…` or `smtp://user:password@host:587`. The latter uses STARTTLS where the server offers it, and
 * requires it before it sends a password to another machine. An untrusted certificate is refused
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
      // An attacker who removes STARTTLS from the greeting must not receive the password.
      requireTLS: !secure && username !== "" && !LOOPBACK.test(hostname),
      auth: username ? { user: decodeURIComponent(username), pass: decodeURIComponent(password) } : undefined,
      maxConnections: CONNECTIONS_MAX,
      // A requeue inside the pool would be an attempt that is missing in the history.
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
  // Without a listener, a broken idle connection would end the process.
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
      // RFC 3834: suppresses automatic replies.
      "Auto-Submitted": "auto-generated",
    },
  };
}

function failed(error: SmtpError): MailResult {
  const detail = shortenLine(error.response ?? `${error.code ?? error.name}: ${error.message}`, DETAIL_MAX);
  // The configured account is wrong, not the mail: retry until an operator corrects it.
  if (error.code === "EAUTH") return { outcome: "refused", retryable: true, detail };
  if (error.responseCode !== undefined) {
    return { outcome: "refused", retryable: error.permanent === false, detail };
  }
  // After DATA the server may have accepted the mail without an answer.
  const unclear = error.command === "DATA" || error.name === "TimeoutError" || error.code === "EABORT";
  return { outcome: unclear ? "unclear" : "refused", retryable: true, detail };
}
