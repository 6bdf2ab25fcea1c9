import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { newId } from "../../lib/ids.ts";
import { newSecret } from "../../lib/webhook-signature.ts";
import { BankError, openBank } from "../../providers/banks/index.ts";
import { smtp } from "../../providers/email/smtp.ts";
import { keycloakCalls } from "../../providers/identity/keycloak-calls.ts";
import { IdentityError } from "../../providers/identity/port.ts";
import { apns } from "../../providers/push/apns.ts";
import { fcm } from "../../providers/push/fcm.ts";
import { oneSignal } from "../../providers/push/onesignal.ts";
import type { PushProvider } from "../../providers/push/port.ts";
import { sandboxPush } from "../../providers/push/sandbox.ts";
import { webPush } from "../../providers/push/webpush.ts";
import { StorageError } from "../../providers/storage/port.ts";
import { s3Storage } from "../../providers/storage/s3.ts";
import { encryptSecret } from "../../services/partners/use-cases/webhook-secrets.ts";
import { attemptDelivery } from "../../services/partners/workers/webhook-attempt.ts";
import { apnsSettings } from "../support/apns-server.ts";
import { eventually } from "../support/eventually.ts";
import { fcmSettings } from "../support/fcm-server.ts";
import {
  type HostileServers,
  hostileHttp,
  hostileHttp2,
  hostileSmtp,
  hostileTls,
  startHostile,
} from "../support/hostile-server.ts";
import { pushTo } from "../support/push.ts";
import { opened } from "../support/stripe-bank.ts";
import { startWebPush, webPushSettings } from "../support/webpush-server.ts";

/** The time limit of each call. */
const LIMIT_MS = 400;
/** How much later than its limit a call may settle on a machine that runs other tests too. */
const LATE_MS = 120_000;

/** Calls every server at once. @returns how each call ended, by the server's behaviour */
async function outcomes(
  { servers }: HostileServers,
  work: (port: number) => Promise<unknown>,
): Promise<Record<string, unknown>> {
  const entries = servers.map(async ({ name, port }) => {
    const late = new Promise((resolve) => {
      setTimeout(resolve, LIMIT_MS + LATE_MS, "never settled").unref();
    });
    const settled = work(port).catch((error: unknown) => error);
    return [name, await Promise.race([settled, late])] as const;
  });
  return Object.fromEntries(await Promise.all(entries));
}

/** The behaviours whose calls did not end as they may. */
function wrong(ended: Record<string, unknown>, isFine: (end: unknown) => boolean): Record<string, unknown> {
  return Object.fromEntries(Object.entries(ended).filter(([, end]) => !isFine(end)));
}

const nothingWrong = {};
/** A server that does not read gets no event of the end. */
const unread = { "accepts and never reads": undefined };

describe("beside servers that violate HTTP in every phase of an answer", () => {
  let http: HostileServers;
  let tls: HostileServers;
  beforeAll(async () => {
    [http, tls] = await Promise.all([startHostile(hostileHttp), startHostile(hostileTls)]);
  });
  afterAll(() => Promise.all([http.stop(), tls.stop()]));

  const httpUrl = (port: number) => `http://127.0.0.1:${port}`;
  const httpsUrl = (port: number) => `https://127.0.0.1:${port}`;

  describe("a webhook", () => {
    const partnerId = newId();
    const fresh = { webhookOlderSecrets: [], ageMs: 0 };
    const keys = { secret: "s".repeat(48) };
    const webhook = (apiUrl: string) =>
      attemptDelivery(
        {
          ...{ id: newId(), leaseId: newId(), webhookMessageId: newId(), partnerId, attempt: 1, ...fresh },
          ...{ messageId: newId(), type: "order.paid", urgency: "preparation" as const, body: "{}" },
          ...{ apiUrl, webhookEnabled: true, webhookSecret: encryptSecret(newSecret(), keys, partnerId) },
        },
        { keys, guard: { allowLoopback: true }, timeoutMs: LIMIT_MS, signal: new AbortController().signal },
        Date.now(),
      );
    const isRefused = (end: unknown) => (end as { accepted?: boolean }).accepted === false;

    it("ends as a failed attempt at its time limit, and leaves no connection open", async () => {
      expect(wrong(await outcomes(http, (port) => webhook(httpUrl(port))), isRefused)).toEqual(nothingWrong);
      expect(wrong(await outcomes(tls, (port) => webhook(httpsUrl(port))), isRefused)).toEqual(nothingWrong);
      await eventually(() => expect({ ...http.open(), ...tls.open(), ...unread }).toEqual(nothingWrong));
    });

    it("answered by a change of protocol, is a failed attempt with that status", async () => {
      const { port } = http.servers.find(({ name }) => name.includes("changes the protocol without")) ?? {};
      expect(await webhook(httpUrl(port ?? 0))).toMatchObject({ accepted: false, statusCode: 101 });
    });

    it("aborted because the process stops, ends at once", async () => {
      const stopping = AbortSignal.abort(new Error("the service stops"));
      const { port } = http.servers.find(({ name }) => name === "reads and says nothing") ?? {};
      const claimed = { ...fresh, webhookEnabled: true, apiUrl: httpUrl(port ?? 0), partnerId };
      await attemptDelivery(
        {
          ...{ id: newId(), leaseId: newId(), webhookMessageId: newId(), attempt: 1, messageId: newId() },
          ...{ type: "order.paid", urgency: "preparation" as const, body: "{}", ...claimed },
          webhookSecret: encryptSecret(newSecret(), keys, partnerId),
        },
        { keys, guard: { allowLoopback: true }, timeoutMs: 3_600_000, signal: stopping },
        Date.now(),
      );
    });
  });

  describe("a bank's checkout", () => {
    const isBankError = (end: unknown) => end instanceof BankError;
    const checkout = {
      ...{ orderId: newId(), amount: { amountMinor: 1_000, currency: "EUR" }, idempotencyKey: newId() },
      ...{ callbackUrl: "https://waybill.example/callback", description: "Bread", timeoutMs: LIMIT_MS },
      payBy: new Date(Date.now() + 1_800_000).toISOString(),
    };
    it.each([
      [
        "sandbox",
        (url: string) =>
          openBank("sandbox", { apiKey: "sk_hostile", webhookSecret: `whsec_${"c".repeat(43)}=` }, url),
      ],
      ["stripe", (url: string) => opened(url)],
    ])("of %s, ends as the bank's failure at its time limit", async (_, open) => {
      const ask = (url: string) => open(url).openCheckout(checkout);
      expect(wrong(await outcomes(http, (port) => ask(httpUrl(port))), isBankError)).toEqual(nothingWrong);
      expect(wrong(await outcomes(tls, (port) => ask(httpsUrl(port))), isBankError)).toEqual(nothingWrong);
    });
  });

  describe("a push", () => {
    const isNotAccepted = (end: unknown) =>
      ["refused", "unclear", "unregistered"].includes((end as { outcome?: string }).outcome ?? "");
    const ended = async (provider: (url: string) => PushProvider, push: (url: string) => object) => {
      const send = (url: string) =>
        provider(url).send({ ...pushTo("token", {}), timeoutMs: LIMIT_MS, ...push(url) });
      return {
        ...(await outcomes(http, (port) => send(httpUrl(port)))),
        ...(await outcomes(tls, (port) => send(httpsUrl(port)))),
      };
    };

    it.each([
      [
        "onesignal",
        (url: string) => oneSignal({ apiUrl: url }),
        () => ({ settings: { appId: newId(), apiKey: "k".repeat(40) } }),
      ],
      [
        "fcm, asking for an access token,",
        (url: string) => fcm({ apiUrl: url, tokenUrl: `${url}/token` }),
        () => ({ settings: fcmSettings }),
      ],
      ["sandbox", () => sandboxPush(), (url: string) => ({ settings: { url } })],
    ])("by %s ends as not accepted at its time limit", async (_, provider, push) => {
      expect(wrong(await ended(provider, push), isNotAccepted)).toEqual(nothingWrong);
    });

    it("by fcm with an access token ends as not accepted at its time limit", async () => {
      const token = JSON.stringify({ access_token: "t", expires_in: 3_600 });
      const google = await startHostile({
        tokens: (socket) => {
          socket.once("data", () =>
            socket.end(
              `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${token.length}\r\nconnection: close\r\n\r\n${token}`,
            ),
          );
        },
      });
      const tokenUrl = httpUrl(google.servers[0]?.port ?? 0);
      const all = await ended(
        (url) => fcm({ apiUrl: url, tokenUrl }),
        // Time for an access token as well: each of these providers asks for its own.
        () => ({ settings: fcmSettings, timeoutMs: 5 * LIMIT_MS }),
      );
      await google.stop();
      expect(wrong(all, isNotAccepted)).toEqual(nothingWrong);
    });

    it("by webpush ends as not accepted at its time limit", async () => {
      const service = await startWebPush();
      const subscription = JSON.parse(service.token()) as object;
      await service.stop();
      const provider = webPush({ guard: { allowLoopback: true } });
      const all = await ended(
        () => provider,
        (url) => ({
          settings: webPushSettings,
          token: JSON.stringify({ ...subscription, endpoint: `${url}/1` }),
        }),
      );
      expect(wrong(all, isNotAccepted)).toEqual(nothingWrong);
    });
  });

  it("a call of Keycloak ends as unavailable or as a refusal at its time limit", async () => {
    const call = (url: string) => {
      const server = { url, realm: "waybill", clientId: "waybill", clientSecret: "secret" };
      return keycloakCalls({ ...server, budgetMs: LIMIT_MS })().admin("GET", "/users/count");
    };
    const isUnavailable = (end: unknown) => end instanceof IdentityError && end.kind === "unavailable";
    expect(wrong(await outcomes(http, (port) => call(httpUrl(port))), isUnavailable)).toEqual(nothingWrong);
    expect(wrong(await outcomes(tls, (port) => call(httpsUrl(port))), isUnavailable)).toEqual(nothingWrong);
  });

  it("a call of the object storage ends as unavailable at its time limit", async () => {
    const call = (S3_ENDPOINT: string) => {
      const bucket = { S3_REGION: "eu-central-1", S3_BUCKET: "media" };
      const storage = s3Storage({ S3_ENDPOINT, ...bucket, S3_ACCESS_KEY: "key", S3_SECRET_KEY: "secret" });
      return storage.get("avatars/a").finally(() => storage.close());
    };
    const isUnavailable = (end: unknown) => end instanceof StorageError && end.kind === "unavailable";
    expect(wrong(await outcomes(http, (port) => call(httpUrl(port))), isUnavailable)).toEqual(nothingWrong);
    expect(wrong(await outcomes(tls, (port) => call(httpsUrl(port))), isUnavailable)).toEqual(nothingWrong);
  });
});

it("a push by apns, beside servers that violate HTTP/2 in every phase of an answer, ends as not accepted", async () => {
  const [http2, tls] = await Promise.all([startHostile(hostileHttp2), startHostile(hostileTls)]);
  const providers: PushProvider[] = [];
  const send = (apiUrl: string) => {
    const provider = apns({ apiUrl });
    providers.push(provider);
    return provider.send({ ...pushTo("a".repeat(64), apnsSettings), timeoutMs: LIMIT_MS });
  };
  const isNotAccepted = (end: unknown) =>
    ["refused", "unclear"].includes((end as { outcome?: string }).outcome ?? "");
  const all = await outcomes(http2, (port) => send(`http://127.0.0.1:${port}`));
  expect(wrong(all, isNotAccepted)).toEqual(nothingWrong);
  const beforeAnswers = await outcomes(tls, (port) => send(`https://127.0.0.1:${port}`));
  expect(wrong(beforeAnswers, isNotAccepted)).toEqual(nothingWrong);
  // A session that is left open would hold the process that wants to stop.
  await Promise.all(providers.map((provider) => provider.close?.()));
  await eventually(() => expect({ ...http2.open(), ...tls.open() }).toEqual(nothingWrong));
  await Promise.all([http2.stop(), tls.stop()]);
});

it("a mail, beside servers that violate SMTP in every phase of a session, ends as not accepted", async () => {
  const [plain, tls] = await Promise.all([startHostile(hostileSmtp), startHostile(hostileTls)]);
  const send = (url: string) => {
    const mailer = smtp({ url, from: "Waybill <mail@waybill.example>" });
    const mail = {
      ...{ to: "customer@example.org", subject: "Code", text: "123456", html: "<p>123456</p>" },
      ...{ messageId: `${newId()}@waybill`, language: "en" },
    };
    return mailer.send(mail, LIMIT_MS).finally(() => mailer.close());
  };
  const isNotAccepted = (end: unknown) =>
    ["refused", "unclear"].includes((end as { outcome?: string }).outcome ?? "");
  const all = await outcomes(plain, (port) => send(`smtp://127.0.0.1:${port}`));
  expect(wrong(all, isNotAccepted)).toEqual(nothingWrong);
  const beforeAnswers = await outcomes(tls, (port) => send(`smtps://127.0.0.1:${port}`));
  expect(wrong(beforeAnswers, isNotAccepted)).toEqual(nothingWrong);
  await eventually(() => expect({ ...plain.open(), ...tls.open() }).toEqual(nothingWrong));
  await Promise.all([plain.stop(), tls.stop()]);
});
