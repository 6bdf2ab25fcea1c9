import { ApiError, answered, type Waybill } from "@waybill/client";
import { alwaysOpen, type SandboxPartner, sandboxPartners } from "./catalogue.ts";
import { mapConcurrent } from "./map-concurrent.ts";
import { type SeedDeps, seedCustomer, seedDeliverer } from "./people.ts";
import { clientWithRetries, signInWhenReady } from "./retry.ts";

/**
 * Creates a bank, partners with their products, a notification agent, a deliverer and a customer by the public API.
 * Idempotent: a later start finds them and updates only the URLs.
 * @throws ApiError
 */
export async function seed(deps: SeedDeps): Promise<void> {
  const admin = clientWithRetries(deps.apiUrl);
  await signInWhenReady(admin, deps.admin);
  await Promise.all([
    seedBank(deps, admin),
    seedAgent(deps, admin),
    seedDeliverer(deps, admin),
    seedCustomer(deps),
    mapConcurrent(sandboxPartners, (partner) => seedPartner(deps, admin, partner), 1),
  ]);
}

async function seedBank({ state, save, bankUrl }: SeedDeps, admin: Waybill): Promise<void> {
  const { id, apiKey, webhookSecret } = state.bank;
  const { items } = await answered(admin.GET("/banks"));
  const known = items.find((bank) => bank.id === id);
  if (known) {
    if (known.webcheckout_url === bankUrl) return;
    const params = { path: { bank_id: known.id } };
    await admin.PATCH("/banks/{bank_id}", { params, body: { webcheckout_url: bankUrl } });
    return;
  }
  const body = {
    title: "Sandbox Pay",
    adapter: "sandbox" as const,
    settings: { apiKey, webhookSecret },
    webcheckout_url: bankUrl,
    active: true,
  };
  state.bank.id = (await answered(admin.POST("/banks", { body }))).id;
  save();
}

async function seedAgent({ state, save, pushUrl }: SeedDeps, admin: Waybill): Promise<void> {
  const provider = "sandbox" as const;
  const settings = [{ provider, values: { url: pushUrl } }];
  const { items } = await answered(admin.GET("/agents"));
  const known = items.find(({ id }) => id === state.agentId);
  if (known) {
    await admin.PATCH("/agents/{agent_id}", { params: { path: { agent_id: known.id } }, body: { settings } });
    return;
  }
  const body = { name: "Sandbox phones", priority: 1000, providers: [provider], settings, enabled: true };
  state.agentId = (await answered(admin.POST("/agents", { body }))).id;
  save();
}

async function seedPartner(deps: SeedDeps, admin: Waybill, partner: SandboxPartner): Promise<void> {
  const { state, save, webhookUrl, openKitchen } = deps;
  let known = state.partners[partner.key];
  if (known && !(await exists(admin, known.id))) known = undefined;
  if (!known) {
    known = { id: (await addPartner(admin, partner)).id, products: [] };
    state.partners[partner.key] = known;
    save();
  }
  const params = { path: { partner_id: known.id } };
  const missing = partner.products.filter(([title]) => !known.products.includes(title));
  await mapConcurrent(missing, async ([title, priceMinor, description, stock]) => {
    const price = { amount_minor: priceMinor, currency: partner.fields.currency };
    const body = { title, description, price, ...(stock && { stock }) };
    await admin.POST("/partners/{partner_id}/products", { params, body });
    known.products.push(title);
  });
  if (missing.length > 0) save();
  const body = { url: webhookUrl(known.id), enabled: true };
  const endpoint = await answered(admin.PUT("/partners/{partner_id}/webhook", { params, body }));
  if (endpoint.secret) known.secret = endpoint.secret;
  else known.secret ??= await rotatedSecret(admin, known.id);
  save();
  openKitchen({ partnerId: known.id, title: partner.fields.title, secret: known.secret ?? "" });
}

/** Creates the partner, or uses an existing one with the same title, for example when the state file was lost. */
async function addPartner(admin: Waybill, { fields }: SandboxPartner): Promise<{ id: string }> {
  const partner = await answered(admin.POST("/partners", { body: fields })).catch(async (error) => {
    if ((error as ApiError).code !== "partner_exists") throw error;
    const { items } = await answered(admin.GET("/partners", { params: { query: { limit: 100 } } }));
    const same = items.find(({ title }) => title === fields.title);
    if (!same) throw error;
    return same;
  });
  const params = { path: { partner_id: partner.id } };
  await admin.PUT("/partners/{partner_id}/hours", { params, body: alwaysOpen });
  await admin.PATCH("/partners/{partner_id}", { params, body: { verified: true, enabled: true } });
  return partner;
}

async function rotatedSecret(admin: Waybill, id: string): Promise<string | undefined> {
  const params = { path: { partner_id: id } };
  return (await answered(admin.POST("/partners/{partner_id}/webhook/rotate-secret", { params }))).secret;
}

async function exists(admin: Waybill, id: string): Promise<boolean> {
  try {
    await admin.GET("/partners/{partner_id}", { params: { path: { partner_id: id } } });
    return true;
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return false;
    throw error;
  }
}
