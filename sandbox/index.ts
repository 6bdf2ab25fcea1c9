import { join } from "node:path";
import { html } from "hono/html";
import { deliverer } from "./deliverer/deliverer.ts";
import { type Page, sendPage } from "./layout.ts";
import { type Mailbox, startMailbox } from "./mailbox/mailbox.ts";
import { partnerSystem } from "./partner-system/system.ts";
import { paymentSystem } from "./payment-system/server.ts";
import { sandboxCustomer } from "./people.ts";
import { pushReceiver } from "./push/receiver.ts";
import { seed } from "./seed.ts";
import { openState } from "./state.ts";
import { newRoutes, serve } from "./web.ts";

const HOST = "127.0.0.1";
const PREPARATION_MS = 1_500;

/** The settings of the platform that the sandbox needs. */
export interface SandboxConfig {
  readonly NODE_ENV: string;
  readonly DATA_DIR: string;
  readonly PUBLIC_URL: string;
  readonly SANDBOX_PORT: number;
  readonly ALLOWED_HOSTS?: string;
  readonly SMTP_URL?: string | undefined;
  readonly ADMIN_EMAIL?: string | undefined;
  readonly ADMIN_PASSWORD?: string | undefined;
}

export interface Sandbox {
  /** URLs of the pages. */
  readonly urls: Record<"index" | "mailbox" | "push" | "kitchen" | "courier" | "payments", string>;
  /** SMTP server of the mailbox. */
  readonly smtpUrl: string;
  /** Creates the bank, partners, the push agent and people by the API, and starts the deliverer. Call when the API is up. */
  seed(): Promise<void>;
  stop(): Promise<void>;
}

export interface SandboxOptions {
  config: SandboxConfig;
  /** The operator account for the set-up. Default: ADMIN_EMAIL and ADMIN_PASSWORD. */
  adminEmail?: string;
  adminPassword?: string;
  /** Whether the deliverer assigns itself ready orders. Default: true. */
  courier?: boolean;
  /** Time between acceptance by the kitchen and readiness, in milliseconds. Default: 1,500. */
  preparationMs?: number;
}

/**
 * Starts the systems around a platform: a payment system, the partners' kitchens, a deliverer, a mailbox and phones.
 * They use only the public API of the platform.
 * @throws Error in production, and with the code EADDRINUSE when a port is taken
 */
export async function startSandbox(options: SandboxOptions): Promise<Sandbox> {
  const { config, adminEmail = config.ADMIN_EMAIL, adminPassword = config.ADMIN_PASSWORD } = options;
  if (config.NODE_ENV === "production") throw new Error("There is no sandbox in production.");
  const { state, save } = openState(join(config.DATA_DIR, "sandbox.json"));
  let url = "";
  const phones = pushReceiver("/push");
  const kitchens = partnerSystem({
    base: "/kitchen",
    preparationMs: options.preparationMs ?? PREPARATION_MS,
  });
  const courier = deliverer({
    base: "/courier",
    apiUrl: config.PUBLIC_URL,
    carriesFor: (partnerId) => Object.values(state.partners).some(({ id }) => id === partnerId),
  });
  const bank = paymentSystem({
    base: "/pay",
    publicUrl: () => url,
    apiKey: state.bank.apiKey,
    webhookSecret: state.bank.webhookSecret,
    file: join(config.DATA_DIR, "sandbox-payments.json"),
  });
  const mailbox = await openMailbox(smtpPortOf(config.SMTP_URL));
  const receivesMails = smtpPortOf(config.SMTP_URL) === Number(new URL(mailbox.smtpUrl).port);
  const web = await serve(
    newRoutes()
      .get("/", (c) => sendPage(c, indexPage(config.PUBLIC_URL)))
      .route("/", phones.routes)
      .route("/", kitchens.routes)
      .route("/", courier.routes)
      .route("/", bank.routes)
      .route("/", mailbox.routes),
    {
      host: HOST,
      port: config.SANDBOX_PORT,
      ...(config.ALLOWED_HOSTS && { allowedHosts: config.ALLOWED_HOSTS }),
    },
  ).catch(async (error) => {
    await mailbox.stop();
    throw error;
  });
  url = web.url;

  return {
    urls: {
      index: `${url}/`,
      mailbox: `${url}/mailbox`,
      push: `${url}/push`,
      kitchen: `${url}/kitchen`,
      courier: `${url}/courier`,
      payments: `${url}/pay`,
    },
    smtpUrl: mailbox.smtpUrl,
    async seed() {
      if (!adminEmail || !adminPassword) throw new Error("The sandbox needs ADMIN_EMAIL and ADMIN_PASSWORD.");
      await seed({
        apiUrl: config.PUBLIC_URL,
        admin: { email: adminEmail, password: adminPassword },
        state,
        save,
        bankUrl: `${url}/pay`,
        pushUrl: `${url}/push/send`,
        webhookUrl: (partnerId) => url + kitchens.pathOf(partnerId),
        openKitchen: kitchens.open,
        ...(receivesMails && { mails: (to) => mailbox.mails().filter((mail) => mail.to.includes(to)) }),
      });
      if (state.deliverer.accepted && (options.courier ?? true)) courier.start(state.deliverer);
    },
    async stop() {
      kitchens.stop();
      await courier.stop();
      await web.stop();
      bank.stop();
      await mailbox.stop();
    },
  };
}

/** Opens the mailbox on a free port when another mail server uses the port. The platform's mails then go to that server. */
async function openMailbox(smtpPort: number): Promise<Mailbox> {
  const open = (port: number) => startMailbox({ base: "/mailbox", host: HOST, smtpPort: port });
  try {
    return await open(smtpPort);
  } catch (error) {
    if (smtpPort === 0 || (error as NodeJS.ErrnoException).code !== "EADDRINUSE") throw error;
    return open(0);
  }
}

/** The platform's SMTP port if it is on this machine; otherwise 0, for a free port. */
function smtpPortOf(smtpUrl: string | undefined): number {
  if (!smtpUrl) return 0;
  const { hostname, port } = new URL(smtpUrl);
  return hostname === HOST || hostname === "localhost" ? Number(port) : 0;
}

function indexPage(apiUrl: string): Page {
  return {
    title: "Sandbox",
    of: "Waybill",
    body: html`<h1>The world around Waybill</h1>
<p>These programs simulate everybody whom the platform deals with. They use only its public API.</p>
<h2>What to do</h2>
<ol>
<li>Order something. <code>npm run demo</code> takes an order through all steps by itself, <code>npm run seed</code> makes
orders to look at. To order yourself, open the <a href="${apiUrl}/docs/">API documentation</a>, sign in there with
<code>POST /sessions</code> as <code>${sandboxCustomer.email}</code> with the password
<code>${sandboxCustomer.password}</code>, then <code>POST /orders/check</code> and <code>POST /orders/confirm</code>.</li>
<li>Pay: open the <code>checkout_url</code> of the confirmed order, or choose it at the
<a href="/pay">payment system</a>.</li>
<li>Watch the <a href="/kitchen">kitchen</a> accept it and say a moment later that it is ready.</li>
<li>Watch the <a href="/courier">courier</a> take it and ride. Read the PIN in the <a href="/mailbox">mailbox</a> or on
the <a href="/push">phones</a>, and tell it to the courier at the door.</li>
</ol>
<h2>Who is here</h2>
<section class="card"><a href="/mailbox"><strong>Mailbox</strong></a>
<p>Every mail that the platform sent: codes, invitations, news of orders.</p></section>
<section class="card"><a href="/push"><strong>Phones</strong></a><p>What pushes are shown on the phones.</p></section>
<section class="card"><a href="/pay"><strong>Payment system</strong></a>
<p>Every checkout that was opened. On its page a customer pays, declines, pays twice or pays too little.</p></section>
<section class="card"><a href="/kitchen"><strong>Kitchens</strong></a>
<p>The partners' own system: accepts orders and says when they are ready.</p></section>
<section class="card"><a href="/courier"><strong>Courier</strong></a>
<p>Dora takes what is ready at these kitchens, rides, and waits at the door for the PIN.</p></section>`,
  };
}
