import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../../platform/free-port.ts";
import { binary } from "./binaries.ts";
import type { Certificate } from "./certificate.ts";
import { type Restartable, restartable, startProcess } from "./process.ts";

const REQUEST_TIMEOUT_MS = 2_000;

export interface ReceivedMail {
  from: string;
  to: string[];
  subject: string;
  text: string;
  html: string;
  messageId: string;
  raw: string;
}

/** Each start is an empty one. */
export interface MailpitServer extends Restartable {
  /** For SMTP_URL, with the account if there is one. */
  readonly url: string;
  /** Of its pages and its API. */
  readonly pagesUrl: string;
  readonly version: string;
  /** All mails, the newest first. */
  mails(): Promise<ReceivedMail[]>;
  /** Has it answer every recipient with this code from now on; undefined: no longer. */
  refuseRecipients(code: number | undefined): Promise<void>;
  /** Stops it and removes its folder. */
  remove(): Promise<void>;
}

export interface MailpitOptions {
  /** `starttls`: clients must request it before they send; `tls`: from the first byte. */
  secure?: { by: "starttls" | "tls"; certificate: Certificate };
  /** The one account that may send; without it, all clients may. */
  account?: { user: string; password: string };
  /** A regular expression of the only recipients that there are. */
  recipients?: string;
}

/** A mailpit on free loopback ports, which keeps nothing. It answers when this resolves. */
export async function startMailpit({
  secure,
  account,
  recipients,
}: MailpitOptions = {}): Promise<MailpitServer> {
  const [path, smtpPort, pagesPort] = [await binary("mailpit"), await freePort(), await freePort()];
  const folder = await mkdtemp(join(tmpdir(), "waybill-mailpit-"));
  const accounts = join(folder, "accounts");
  if (account) await writeFile(accounts, `${account.user}:${account.password}\n`);
  const pagesUrl = `http://127.0.0.1:${pagesPort}`;
  const words = [
    ...["--smtp", `127.0.0.1:${smtpPort}`, "--listen", `127.0.0.1:${pagesPort}`],
    ...["--smtp-disable-rdns", "--enable-chaos", "--max", "0"],
    ...(recipients ? ["--smtp-allowed-recipients", recipients] : []),
    ...(account ? ["--smtp-auth-file", accounts] : []),
    ...(account && !secure ? ["--smtp-auth-allow-insecure"] : []),
    ...(secure
      ? ["--smtp-tls-cert", secure.certificate.certFile, "--smtp-tls-key", secure.certificate.keyFile]
      : []),
    ...(secure ? [secure.by === "tls" ? "--smtp-require-tls" : "--smtp-require-starttls"] : []),
  ];
  const api = async (method: string, at: string, body?: object): Promise<Response> => {
    const response = await fetch(`${pagesUrl}/api/v1/${at}`, {
      method,
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      ...(body && { body: JSON.stringify(body) }),
    });
    if (!response.ok) throw new Error(`mailpit: ${response.status} ${await response.text()}`);
    return response;
  };
  const run = () => startProcess(path, words, () => api("GET", "info"), { HOME: folder, TMPDIR: folder });
  const server = await restartable(run);
  const { Version: version } = (await (await api("GET", "info")).json()) as { Version: string };
  const credentials = account
    ? `${encodeURIComponent(account.user)}:${encodeURIComponent(account.password)}@`
    : "";

  const mail = async (id: string): Promise<ReceivedMail> => {
    const [parsed, raw] = await Promise.all([
      api("GET", `message/${id}`).then((response) => response.json() as Promise<Message>),
      api("GET", `message/${id}/raw`).then((response) => response.text()),
    ]);
    return {
      from: parsed.From.Address,
      to: [...parsed.To, ...(parsed.Cc ?? []), ...(parsed.Bcc ?? [])].map(({ Address }) => Address),
      subject: parsed.Subject,
      text: parsed.Text,
      html: parsed.HTML,
      messageId: parsed.MessageID,
      raw,
    };
  };
  return {
    url: `${secure?.by === "tls" ? "smtps" : "smtp"}://${credentials}127.0.0.1:${smtpPort}`,
    pagesUrl,
    version,
    async mails() {
      const list = (await (await api("GET", "messages?limit=200")).json()) as { messages: { ID: string }[] };
      return await Promise.all(list.messages.map(({ ID }) => mail(ID)));
    },
    async refuseRecipients(code) {
      const trigger = { ErrorCode: code ?? 451, Probability: code === undefined ? 0 : 100 };
      await api("PUT", "chaos", { Recipient: trigger });
    },
    ...server,
    async remove() {
      await server.kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

interface Message {
  From: { Address: string };
  To: { Address: string }[];
  Cc: { Address: string }[] | null;
  Bcc: { Address: string }[] | null;
  Subject: string;
  Text: string;
  HTML: string;
  MessageID: string;
}
