import { setTimeout as delay } from "node:timers/promises";
import { type ApiError, type Waybill, waybill } from "@waybill/client";
import type { ReceivedMail } from "./mailbox/mailbox.ts";
import { retryWhileBusy } from "./retry.ts";
import type { SandboxState } from "./state.ts";

const MAIL_POLL_MS = 50;
const MAIL_TIMEOUT_MS = 20_000;
export const INVITATION_TOKEN = /^ {4}(\S+)$/m;
export const CODE = /\b(\d{6})\b/;

/** The customer account in the examples of the README. Its password is public: the sandbox holds no real data. */
export const sandboxCustomer = { email: "carla@sandbox.example", password: "carla-likes-pretzels" };

/** Invites the deliverer and accepts the invitation with the mailed token. @throws ApiError */
export async function seedDeliverer(deps: SeedDeps, admin: Waybill): Promise<void> {
  const { state, save, apiUrl } = deps;
  const { email, password, accepted } = state.deliverer;
  if (accepted && (await canSignIn(apiUrl, email, password))) return;
  const token = await mailedAfter(deps, email, INVITATION_TOKEN, () =>
    admin.POST("/invitations", { body: { email, role: "deliverer" } }),
  );
  if (!token) return;
  const body = { token, password, first_name: "Dora", last_name: "Ritter", language: "en" };
  const anonymous = waybill({ url: apiUrl });
  await retryWhileBusy(() => anonymous.POST("/invitations/accept", { body })).catch(
    async (error: ApiError) => {
      // The answer to an earlier attempt may have been lost after the invitation was accepted.
      if (!(await canSignIn(apiUrl, email, password))) throw error;
    },
  );
  state.deliverer.accepted = true;
  save();
}

/** Registers the customer and confirms the address with the mailed code. @throws ApiError */
export async function seedCustomer(deps: SeedDeps): Promise<void> {
  const { state, save, apiUrl } = deps;
  const { email, password } = sandboxCustomer;
  if (state.customerConfirmed && (await canSignIn(apiUrl, email, password))) return;
  const anonymous = waybill({ url: apiUrl });
  const names = { first_name: "Carla", last_name: "Winter", language: "en" };
  const code = await mailedAfter(deps, email, CODE, () =>
    retryWhileBusy(() => anonymous.POST("/users", { body: { email, password, ...names } })),
  );
  if (!code) return;
  await retryWhileBusy(() => anonymous.POST("/users/confirm", { body: { email, code } }));
  state.customerConfirmed = true;
  save();
}

/**
 * Calls `send` and returns the first match of the pattern in the mail that follows; undefined when the mails go to another
 * server.
 * @throws Error when no such mail arrives in time
 */
async function mailedAfter(
  { mails }: SeedDeps,
  email: string,
  pattern: RegExp,
  send: () => Promise<unknown>,
): Promise<string | undefined> {
  if (!mails) {
    console.warn(`Sandbox: ${email} is not created, because the mails go to another server (SMTP_URL).`);
    return undefined;
  }
  const before = new Set(mails(email).map(({ id }) => id));
  await send();
  const deadlineMs = Date.now() + MAIL_TIMEOUT_MS;
  while (Date.now() < deadlineMs) {
    for (const { id, text } of mails(email)) {
      const found = before.has(id) ? undefined : pattern.exec(text)?.[1];
      if (found) return found;
    }
    await delay(MAIL_POLL_MS);
  }
  throw new Error(`the mail to ${email} did not reach the sandbox's mailbox`);
}

async function canSignIn(apiUrl: string, email: string, password: string): Promise<boolean> {
  try {
    const anonymous = waybill({ url: apiUrl });
    await retryWhileBusy(() => anonymous.signIn({ email, password }));
    return true;
  } catch (error) {
    if ((error as ApiError).status === 401) return false;
    throw error;
  }
}

export interface SeedDeps {
  apiUrl: string;
  admin: { email: string; password: string };
  state: SandboxState;
  save(): void;
  /** URL of the payment system, reachable by the platform. */
  bankUrl: string;
  pushUrl: string;
  webhookUrl(partnerId: string): string;
  /** Adds a kitchen with its webhook secret. */
  openKitchen(kitchen: { partnerId: string; title: string; secret: string }): void;
  /** The mails to an address; absent when the platform's mails go to another server. */
  mails?: (to: string) => readonly ReceivedMail[];
}
