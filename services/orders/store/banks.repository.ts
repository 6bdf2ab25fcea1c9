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
     VALUES (:id, :title, :adapter, :settings, :webcheckoutUrl, :active, :version)`,
    { ...bank },
  );
}

/** @param bank the new row; its version is one above the expected one. @returns false for another version: not saved */
export async function saveBank(trx: Db, bank: BankRow): Promise<boolean> {
  const count = await affected(
    trx,
    `UPDATE banks SET title = :title, settings = :settings, webcheckout_url = :webcheckoutUrl, active = :active,
       version = :version, updated_at = now()
     WHERE id = :id AND version = :version - 1`,
    { ...bank },
  );
  return count === 1;
}
