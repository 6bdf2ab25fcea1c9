import { html } from "hono/html";
import PostalMime from "postal-mime";
import { SMTPServer } from "smtp-server";
import { type Page, sendPage, timeText } from "../layout.ts";
import { httpError, newRoutes, type Routes } from "../web.ts";

const MAILS_MAX = 500;
const MAIL_MAX_BYTES = 1024 * 1024;
const CLOSE_TIMEOUT_MS = 500;
const NEW_TABS = "allow-popups allow-popups-to-escape-sandbox";

export interface ReceivedMail {
  id: string;
  to: string[];
  from: string;
  subject: string;
  text: string;
  html: string;
  messageId: string;
  at: string;
}

export interface Mailbox {
  routes: Routes;
  /** `smtp://host:port` */
  smtpUrl: string;
  mails(): ReceivedMail[];
  stop(): Promise<void>;
}

/** An SMTP server that shows all mails on one page. `smtpPort` 0 means a free port. */
export async function startMailbox(options: {
  base: string;
  host: string;
  smtpPort: number;
}): Promise<Mailbox> {
  const { base, host } = options;
  const mails: ReceivedMail[] = [];
  let count = 0;

  async function store(raw: Buffer, to: string[]): Promise<void> {
    const mail = await PostalMime.parse(raw);
    const messageId = mail.messageId ?? "";
    // A mailbox drops the second copy of a mail that was delivered twice.
    if (messageId && mails.some((known) => known.messageId === messageId)) return;
    count += 1;
    mails.unshift({
      id: String(count),
      to,
      from: mail.from?.address ?? "",
      subject: mail.subject ?? "",
      text: mail.text ?? "",
      html: mail.html ?? "",
      messageId,
      at: new Date().toISOString(),
    });
    mails.splice(MAILS_MAX);
  }

  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ["STARTTLS"],
    disableReverseLookup: true,
    size: MAIL_MAX_BYTES,
    closeTimeout: CLOSE_TIMEOUT_MS,
    onAuth: (auth, _session, done) => done(null, { user: auth.username ?? "sandbox" }),
    onData(stream, session, done) {
      const chunks: Buffer[] = [];
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
      stream.on("end", () => {
        const to = session.envelope.rcptTo.map(({ address }) => address.toLowerCase());
        store(Buffer.concat(chunks), to).then(
          () => done(null),
          () => done(new Error("The mail cannot be read.")),
        );
      });
    },
  });
  server.on("error", () => undefined);
  const listening = await new Promise<import("node:net").Server>((resolve, reject) => {
    const net = server.listen(options.smtpPort, host, () => resolve(net));
    net.once("error", reject);
  });
  const { port } = listening.address() as import("node:net").AddressInfo;

  const addressedTo = (address: string | undefined) =>
    address === undefined ? mails : mails.filter(({ to }) => to.includes(address.toLowerCase()));
  const one = (id: string | undefined): ReceivedMail => {
    const mail = mails.find((candidate) => candidate.id === id);
    if (!mail) throw httpError(404, "There is no such mail.");
    return mail;
  };

  return {
    smtpUrl: `smtp://${host.includes(":") ? `[${host}]` : host}:${port}`,
    mails: () => [...mails],
    stop: () => new Promise((resolve) => server.close(() => resolve())),
    routes: newRoutes()
      .get(`${base}.json`, (c) =>
        c.json(
          addressedTo(c.req.query("to")).map(({ messageId, ...mail }) => ({
            ...mail,
            message_id: messageId,
          })),
        ),
      )
      .get(base, (c) => sendPage(c, listPage(base, addressedTo(c.req.query("to")))))
      .get(`${base}/:id`, (c) => sendPage(c, mailPage(base, one(c.req.param("id")))))
      // Shown in a sandboxed frame: scripts cannot run and nothing is loaded. Links open in a new tab.
      .get(`${base}/:id/html`, (c) => {
        c.header(
          "content-security-policy",
          `sandbox ${NEW_TABS}; default-src 'none'; style-src 'unsafe-inline'`,
        );
        return c.html(one(c.req.param("id")).html.replace("<head>", '<head><base target="_blank">'));
      }),
  };
}

function listPage(base: string, mails: ReceivedMail[]): Page {
  return {
    title: "Mailbox",
    of: "Mailbox",
    home: "/",
    refreshSeconds: 5,
    body: html`<h1>Every mail that was sent</h1>
<p class="quiet">Newest first; codes, invitations and PINs are in here. The page loads itself again every five seconds.</p>
<form method="get" action="${base}"><label for="to">Only to this address</label>
<div class="row"><input id="to" name="to" type="email" autocomplete="off"><button>Show</button></div></form>
${mails.map(
  (mail) => html`<article class="card"><a href="${base}/${mail.id}"><strong>${mail.subject}</strong></a>
<p class="quiet small">to ${mail.to.join(", ")} · ${timeText(mail.at)}</p></article>`,
)}
${mails.length === 0 ? html`<p>No mail yet. Sign up, or order something: each step sends one.</p>` : ""}`,
  };
}

function mailPage(base: string, mail: ReceivedMail): Page {
  return {
    title: mail.subject,
    of: "Mailbox",
    home: "/",
    body: html`<p><a href="${base}">All mails</a></p>
<h1>${mail.subject}</h1>
<p class="quiet small">from ${mail.from} to ${mail.to.join(", ")} · ${timeText(mail.at)}</p>
<pre>${mail.text}</pre>
${mail.html ? html`<h2>As a mail program shows it</h2><iframe src="${base}/${mail.id}/html" title="The mail" sandbox="${NEW_TABS}"></iframe>` : ""}`,
  };
}
