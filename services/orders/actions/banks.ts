import type { Params } from "../../../contracts/actions.ts";
import type { Bank as BankView } from "../../../contracts/banks.ts";
import { fail, invalidField } from "../../../contracts/errors.ts";
import type { Ctx } from "../../../contracts/meta.ts";
import { briefCache } from "../../../lib/brief-cache.ts";
import { isEmptyChange } from "../../../lib/changes.ts";
import { decrypt, type EncryptionKeys, encrypt } from "../../../lib/encryption.ts";
import { newId } from "../../../lib/ids.ts";
import { callerOf } from "../../../mixins/caller/caller.ts";
import { audit, fieldsOf } from "../../../mixins/outbox/audit.ts";
import { idempotent } from "../../../mixins/postgres/idempotency.ts";
import type { Postgres } from "../../../mixins/postgres/postgres.mixin.ts";
import { type Bank, type BankEnvironment, openBank } from "../../../providers/banks/index.ts";
import type { BankRow, Banks, OrdersDependencies } from "../dependencies.ts";
import { findBank, insertBank, listBanks, saveBank } from "../store/banks.repository.ts";
import { type BankContact, bankContacts } from "../store/reconciliation.repository.ts";

const ROW_TTL_MS = 2_000;
const OPEN_BANKS_MAX = 100;
const SETTINGS_MAX_LENGTH = 8_192;

export async function createBank(
  { postgres, banks, outbox }: OrdersDependencies,
  ctx: Ctx<Params<"orders.createBank">>,
): Promise<BankView> {
  callerOf(ctx, "admin");
  return idempotent(postgres, ctx, "orders.createBank", async (trx) => {
    const bank = await banks.create(trx, ctx.params);
    await audit(outbox, trx, ctx, bank.id);
    return bank;
  });
}

export async function updateBank(
  { postgres, banks, outbox }: OrdersDependencies,
  ctx: Ctx<Params<"orders.updateBank">>,
): Promise<BankView> {
  callerOf(ctx, "admin");
  return postgres.transact(async (trx) => {
    const bank = await banks.update(trx, ctx.params);
    await audit(outbox, trx, ctx, bank.id, fieldsOf(ctx.params));
    return bank;
  });
}

/** The registered banks. Each version of a bank's row is opened once. */
export function banks({
  postgres,
  keys,
  environment = {},
}: {
  postgres: Postgres;
  keys: EncryptionKeys;
  environment?: BankEnvironment;
}): Banks {
  const opened = new Map<string, Bank>();
  const rows = briefCache(ROW_TTL_MS, (id) => findBank(postgres.db, id));
  /** Additional authenticated data: the encrypted settings of one bank do not decrypt as those of another. */
  const aadOf = (id: string) => `banks/${id}`;

  const connect = ({ id, version, adapter, settings, webcheckoutUrl }: BankRow): Bank => {
    const key = `${id}/${version}`;
    const cached = opened.get(key);
    if (cached) return cached;
    const bank = openBank(
      adapter,
      JSON.parse(decrypt(settings, keys, aadOf(id))),
      webcheckoutUrl,
      environment,
    );
    if (opened.size >= OPEN_BANKS_MAX) opened.clear();
    opened.set(key, bank);
    return bank;
  };

  /** Opens the bank once, so that invalid settings are refused here and not at the first payment. */
  const encryptSettings = (row: BankRow, settings: Record<string, string>): string => {
    try {
      openBank(row.adapter, settings, row.webcheckoutUrl, environment);
    } catch (error) {
      throw invalidField("settings", "settings", `${(error as Error).message}.`);
    }
    const text = JSON.stringify(settings);
    if (text.length > SETTINGS_MAX_LENGTH)
      throw invalidField("settings", "max", "The settings are too long.");
    return encrypt(text, keys, aadOf(row.id));
  };

  return {
    async find(bankId, seenVersion) {
      let row = await rows.get(bankId);
      if (row !== undefined && row.version === seenVersion) {
        rows.drop(bankId);
        row = await rows.get(bankId);
      }
      const found = row;
      return found && { ...found, connect: () => connect(found) };
    },
    async list({ role }) {
      if (role !== "admin" && role !== "finance")
        return { items: (await listBanks(postgres.db, true)).map((row) => viewOf(row)) };
      const [rows, contacts] = await Promise.all([listBanks(postgres.db, false), bankContacts(postgres.db)]);
      const byBank = new Map(contacts.map((contact) => [contact.bankId, contact]));
      return { items: rows.map((row) => viewOf(row, byBank.get(row.id))) };
    },
    async create(trx, { settings, ...bank }) {
      const row: BankRow = { ...bank, id: newId(), settings: "", version: 1 };
      const created = { ...row, settings: encryptSettings(row, settings) };
      await insertBank(trx, created);
      return viewOf(created);
    },
    async update(trx, { bankId, expectedVersion, settings, ...change }) {
      const row = await findBank(trx, bankId);
      if (!row) throw fail("NOT_FOUND", "There is no such bank.");
      if (expectedVersion !== undefined && expectedVersion !== row.version) throw fail("PRECONDITION_FAILED");
      const changed = { ...row, ...change, version: row.version + 1 };
      // gRPC sends an absent map as an empty one.
      const given = settings && Object.keys(settings).length > 0 ? settings : undefined;
      if (!given && isEmptyChange(change)) return viewOf(row);
      if (given) changed.settings = encryptSettings(changed, given);
      if (!(await saveBank(trx, changed))) throw fail("PRECONDITION_FAILED");
      trx.committed.then(
        () => rows.drop(bankId),
        () => undefined,
      );
      return viewOf(changed);
    },
  };
}

function viewOf(row: BankRow, contact?: BankContact): BankView {
  const { id, title, adapter, active, webcheckoutUrl, version } = row;
  const view = { id, title, adapter: adapter as BankView["adapter"], active, webcheckoutUrl, version };
  if (!contact) return view;
  const { bankId: _, ...shown } = contact;
  return { ...view, contact: shown };
}
