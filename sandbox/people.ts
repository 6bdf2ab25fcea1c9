import { setTimeout as delay } from "node:timers/promises";
import { type ApiError, type Waybill, waybill } from "@waybill/client";
import type { ReceivedMail } from "./mailbox/mailbox.ts";
import type { SandboxMemory } from "./memory.ts";
import { retryWhileBusy } from "./retry.ts";

const MAIL_POLL_MS = 50;
const MAIL_TIMEOUT_MS = 20_000;
const INVITATION_TOKEN = /^ {4}(\S+)$/m;
const CODE = /\b(\d{6})\b/;

/** Who the README's calls sign in as. Known to everybody, as everything in the sandbox may be. */
export const sandboxCustomer = { email: "carla@sandbox.example", password: "carla-likes-pretzels" };

/** Invites the deliverer, who accepts by the mailed token. @throws ApiError */
export async function seedDeliverer(deps: SeedDeps, admin: Waybill): Promise<void> {
  const { memory, save, apiUrl } = deps;
  const { email, password, accepted } = memory.deliverer;
  if (accepted && (await canSignIn(apiUrl, email, password))) return;
  const token = await mailedAfter(deps, email, INVITATION_TOKEN, () =>
    admin.POST("/invitations", { body: { email, role: "deliverer" } }),
  );
  if (!token) return;
  const body = { token, password, first_name: "Dora", last_name: "Ritter", language: "en" };
  const nobody = waybill({ url: apiUrl });
  await retryWhileBusy(() => nobody.POST("/invitations/accept", { body })).catch(async (error: ApiError) => {
    // The answer to an earlier try may have been lost after it had had its effect.
    if (!(await canSignIn(apiUrl, email, password))) throw error;
  });
  memory.deliverer.accepted = true;
  save();
}

/** Signs the customer up, who confirms by the mailed code. @throws ApiError */
export async function seedCustomer(deps: SeedDeps): Promise<void> {
  const { memory, save, apiUrl } = deps;
  const { email, password } = sandboxCustomer;
  if (memory.customerConfirmed && (await canSignIn(apiUrl, email, password))) return;
  const nobody = waybill({ url: apiUrl });
  const names = { first_name: "Carla", last_name: "Winter", language: "en" };
  const code = await mailedAfter(deps, email, CODE, () =>
    retryWhileBusy(() => nobody.POST("/users", { body: { email, password, ...names } })),
  );
  if (!code) return;
  await retryWhileBusy(() => nobody.POST("/users/confirm", { body: { email, code } }));
  memory.customerConfirmed = true;
  save();
}

/**
 * What the pattern finds in the mail that `send` causes; undefined where mails go to another server.
 * @throws Error when no such mail comes
 */
async function mailedAfter(
  { mails }: SeedDeps,
  email: string,
  pattern: RegExp,
  send: () => Promise<unknown>,
): Promise<string | undefined> {
  if (!mails) {
    console.warn(`Sandbox: no ${email}, since mails go to another server (SMTP_URL).`);
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
    const nobody = waybill({ url: apiUrl });
    await retryWhileBusy(() => nobody.signIn({ email, password }));
    return true;
  } catch (error) {
    if ((error as ApiError).status === 401) return false;
    throw error;
  }
}

export interface SeedDeps {
  apiUrl: string;
  admin: { email: string; password: string };
  memory: SandboxMemory;
  save(): void;
  /** Where the payment system answers, as the platform reaches it. */
  bankUrl: string;
  pushUrl: string;
  webhookUrl(partnerId: string): string;
  /** A kitchen knows its secret. */
  openKitchen(kitchen: { partnerId: string; title: string; secret: string }): void;
  /** Absent when the platform's mails go elsewhere. */
  mails?: (to: string) => readonly ReceivedMail[];
}
