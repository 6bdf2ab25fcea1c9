import { affected, type Db, row, rows } from "../../../lib/sql/database.ts";
import type { BankRow } from "../dependencies.ts";

const BANK = "SELECT id, title, adapter, settings, webcheckout_url, active, version FROM banks";

export async function findBank(db: Db, id: string): Promise<BankRow | undefined> {
  return row<BankRow>(db, `${BANK} WHERE id = ?`, [id]);
}

export async function listBanks(db: Db, onlyActive: boolean): Promise<BankRow[]> {
  return rows<BankRow>(db, `${BANK} ${onlyActive ? "WHERE active" : ""} ORDER BY id`);
}

export async function insertBank(trx: Db, bank: BankRow): Promise<void> {
  await affected(
    trx,
    `INSERT INTO banks (id, title, adapter, settings, webcheckout_url, active, version)
     VALUES (?, ?, ?, ?, ?, ?, ?)`,
    [bank.id, bank.title, bank.adapter, bank.settings, bank.webcheckoutUrl, bank.active, bank.version],
  );
}

/** @param bank as it shall be, its version one above the one that is expected. @returns whether it was that one */
export async function saveBank(trx: Db, bank: BankRow): Promise<boolean> {
  const count = await affected(
    trx,
    `UPDATE banks SET title = ?, settings = ?, webcheckout_url = ?, active = ?, version = ?, updated_at = now()
     WHERE id = ? AND version = ?`,
    [
      ...[bank.title, bank.settings, bank.webcheckoutUrl, bank.active, bank.version],
      ...[bank.id, bank.version - 1],
    ],
  );
  return count === 1;
}
