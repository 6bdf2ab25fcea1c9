import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { invalidField } from "../../../contracts/errors.ts";
import type { OrderView } from "../../../contracts/orders.ts";
import { requestContextOf } from "../edge/request-head.ts";
import { type ExportGate, exportGate } from "./export-gate.ts";

/** Rows of one page, all that an export holds in memory. */
export const EXPORT_PAGE = 100;
const EXPORT_DAYS_MAX = 92;
const DAY_MS = 86_400_000;

/** @throws VALIDATION_ERROR unless the period is at most a quarter of a year */
export function requireExportPeriod({ from, to }: { from: string; to: string }): void {
  if (!(Date.parse(to) - Date.parse(from) <= EXPORT_DAYS_MAX * DAY_MS))
    throw invalidField("to", "period", `Must be at most ${EXPORT_DAYS_MAX} days after \`from\`.`);
}

/** A page of the list, as `orders.list` answers it. */
export interface OrdersPage {
  items: readonly OrderView[];
  nextCursor?: string | undefined;
}

const COLUMNS: Record<string, (order: OrderView) => string | number | undefined> = {
  id: ({ id }) => id,
  created_at: ({ createdAt }) => createdAt,
  status: ({ status }) => status,
  payment_status: (order) => order.paymentStatus,
  partner_id: ({ partner }) => partner.id,
  partner_title: ({ partner }) => partner.title,
  customer_id: ({ customer }) => customer.id,
  customer_name: ({ customer }) => customer.name,
  customer_phone: ({ customer }) => customer.phone,
  deliverer_id: ({ delivererId }) => delivererId,
  currency: ({ total }) => total.currency,
  fee_minor: ({ fee }) => fee.amountMinor,
  total_minor: ({ total }) => total.amountMinor,
  paid_minor: ({ paid }) => paid.amountMinor,
  refunded_minor: ({ refunded }) => refunded.amountMinor,
  reason: ({ reason }) => reason,
  updated_at: ({ updatedAt }) => updatedAt,
};

export interface OrderExports {
  /**
   * Streams all pages as CSV (RFC 4180), a row at a time: the next page is read when the client has taken the former one, and
   * none after the client has gone. The first page is read before the status is sent, so that its errors are problems.
   * @throws TOO_MANY_REQUESTS while the user has another export, OVERLOADED
   */
  send(
    userId: string,
    readPage: (cursor: string | undefined) => Promise<OrdersPage>,
    req: IncomingMessage,
    res: ServerResponse,
    headers: Record<string, string>,
  ): Promise<void>;
}

/** @param gate limits the exports of the gateway */
export function orderExports(gate: ExportGate = exportGate()): OrderExports {
  return {
    send: (userId, readPage, req, res, headers) =>
      gate.run(userId, res, async () => {
        const first = await readPage(undefined);
        if (res.destroyed) return;
        res.writeHead(200, {
          ...headers,
          "Content-Type": "text/csv; charset=utf-8; header=present",
          "Content-Disposition": 'attachment; filename="orders.csv"',
          "Cache-Control": "no-store",
        });
        if (requestContextOf(req).isHead) res.end();
        else await writePages(first, readPage, res);
      }),
  };
}

async function writePages(
  first: OrdersPage,
  readPage: (cursor: string | undefined) => Promise<OrdersPage>,
  res: ServerResponse,
): Promise<void> {
  const gone = once(res, "close").catch(() => undefined);
  await write(res, line(Object.keys(COLUMNS)), gone);
  for (let page = first; ; page = await readPage(page.nextCursor)) {
    for (const order of page.items) {
      await write(res, line(Object.values(COLUMNS).map((read) => read(order))), gone);
    }
    if (page.nextCursor === undefined || res.destroyed) break;
  }
  res.end();
}

/** Writes a row. Waits until the client has taken the former ones, or has gone. */
async function write(res: ServerResponse, row: string, gone: Promise<unknown>): Promise<void> {
  if (res.destroyed || res.write(row)) return;
  await Promise.race([once(res, "drain"), gone]);
}

/** Spreadsheets take a text that begins so for a formula. */
const FORMULA = /^[=+\-@\t\r\n]/;
const QUOTED = /[",\r\n]/;

function line(values: readonly (string | number | undefined)[]): string {
  return `${values.map(field).join(",")}\r\n`;
}

/** A text that could be a formula gets an apostrophe in front, which spreadsheets do not show. */
export function field(value: string | number | undefined): string {
  if (value === undefined) return "";
  if (typeof value === "number") return String(value);
  const text = FORMULA.test(value) ? `'${value}` : value;
  return QUOTED.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
