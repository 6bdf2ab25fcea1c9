import { ApiError, patient, patiently, type Session, signIn } from "./api-client.ts";
import { alwaysOpen, type SandboxPartner, sandboxPartners } from "./catalogue.ts";
import type { ReceivedMail } from "./mailbox/mailbox.ts";
import type { SandboxMemory } from "./memory.ts";
import { seedCustomer, seedDeliverer } from "./people.ts";

const AT_ONCE = 4;

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

/**
 * Makes a bank, partners with their products, a sender of notifications, a deliverer and a customer, as an operator
 * would: by the public API. What an earlier start made is found again and only told the new addresses.
 * @throws ApiError
 */
export async function seed(deps: SeedDeps): Promise<void> {
  const { apiUrl, admin: account } = deps;
  const admin = patient(await patiently(() => signIn(apiUrl, account.email, account.password)));
  await Promise.all([
    seedBank(deps, admin),
    seedAgent(deps, admin),
    seedDeliverer(deps, admin),
    seedCustomer(deps),
    inTurns(sandboxPartners, (partner) => seedPartner(deps, admin, partner), 1),
  ]);
}

async function seedBank({ memory, save, bankUrl }: SeedDeps, admin: Session): Promise<void> {
  const { id, apiKey, webhookSecret } = memory.bank;
  const { items } = await admin.call<{ items: { id: string; webcheckout_url: string }[] }>("GET", "/banks");
  const known = items.find((bank) => bank.id === id);
  if (known) {
    if (known.webcheckout_url === bankUrl) return;
    await admin.call("PATCH", `/banks/${known.id}`, { body: { webcheckout_url: bankUrl } });
    return;
  }
  const body = {
    title: "Sandbox Pay",
    adapter: "sandbox",
    settings: { apiKey, webhookSecret },
    webcheckout_url: bankUrl,
    active: true,
  };
  const bank = await create<{ id: string }>(admin, "/banks", body);
  memory.bank.id = bank.id;
  save();
}

async function seedAgent({ memory, save, pushUrl }: SeedDeps, admin: Session): Promise<void> {
  const settings = [{ provider: "sandbox", values: { url: pushUrl } }];
  const { items } = await admin.call<{ items: { id: string }[] }>("GET", "/agents");
  if (items.some(({ id }) => id === memory.agentId)) {
    await admin.call("PATCH", `/agents/${memory.agentId}`, { body: { settings } });
    return;
  }
  const body = { name: "Sandbox phones", priority: 1000, providers: ["sandbox"], settings, enabled: true };
  memory.agentId = (await create<{ id: string }>(admin, "/agents", body)).id;
  save();
}

async function seedPartner(deps: SeedDeps, admin: Session, partner: SandboxPartner): Promise<void> {
  const { memory, save, webhookUrl, openKitchen } = deps;
  let known = memory.partners[partner.key];
  if (known && !(await exists(admin, `/partners/${known.id}`))) known = undefined;
  if (!known) {
    known = { id: (await addPartner(admin, partner)).id, products: [] };
    memory.partners[partner.key] = known;
    save();
  }
  const path = `/partners/${known.id}`;
  const missing = partner.products.filter(([title]) => !known.products.includes(title));
  await inTurns(missing, async ([title, priceMinor, description, stock]) => {
    const price = { amount_minor: priceMinor, currency: partner.fields.currency };
    await create(admin, `${path}/products`, { title, description, price, ...(stock && { stock }) });
    known.products.push(title);
  });
  if (missing.length > 0) save();
  const body = { url: webhookUrl(known.id), enabled: true };
  const endpoint = await admin.call<{ secret?: string }>("PUT", `${path}/webhook`, { body });
  if (endpoint.secret) known.secret = endpoint.secret;
  else known.secret ??= await rotatedSecret(admin, path);
  save();
  openKitchen({ partnerId: known.id, title: partner.fields.title, secret: known.secret ?? "" });
}

/** A partner of this name that an operator or a start with a lost memory made is taken over. */
async function addPartner(admin: Session, { fields }: SandboxPartner): Promise<{ id: string }> {
  const made = await create<{ id: string }>(admin, "/partners", fields).catch(async (error) => {
    if ((error as ApiError).code !== "partner_exists") throw error;
    const { items } = await admin.call<{ items: { id: string; title: string }[] }>(
      "GET",
      "/partners?limit=100",
    );
    const same = items.find(({ title }) => title === fields.title);
    if (!same) throw error;
    return same;
  });
  await admin.call("PUT", `/partners/${made.id}/hours`, { body: alwaysOpen });
  await admin.call("PATCH", `/partners/${made.id}`, { body: { verified: true, enabled: true } });
  return made;
}

async function rotatedSecret(admin: Session, path: string): Promise<string> {
  return (await admin.call<{ secret: string }>("POST", `${path}/webhook/rotate-secret`, { body: {} })).secret;
}

async function exists(admin: Session, path: string): Promise<boolean> {
  try {
    await admin.call("GET", path);
    return true;
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return false;
    throw error;
  }
}

export function create<T>(admin: Session, path: string, body: object): Promise<T> {
  return admin.call<T>("POST", path, { body, idempotencyKey: crypto.randomUUID() });
}

/** A few at once: the platform has just started and others want something of it too. */
async function inTurns<T>(
  items: readonly T[],
  work: (item: T) => Promise<void>,
  atOnce = AT_ONCE,
): Promise<void> {
  const queue = [...items];
  const worker = async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}
