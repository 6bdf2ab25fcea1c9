import type { Params, Result } from "../../../contracts/actions.ts";
import { fail } from "../../../contracts/errors.ts";
import type { Ctx } from "../../../contracts/meta.ts";
import type { Clock } from "../../../lib/clock.ts";
import type { EncryptionKeys } from "../../../lib/encryption.ts";
import { userOfTicket } from "../../../lib/export-ticket.ts";
import type { Documents } from "../../../mixins/documents/documents.mixin.ts";
import type { Postgres } from "../../../mixins/postgres/postgres.mixin.ts";
import { listHistory, type NotificationDocument } from "../projections/history.ts";
import { devicesOf } from "../store/devices.repository.ts";
import { preferencesOf } from "../store/recipients.repository.ts";

const PAGE = 100;

interface Deps {
  postgres: Postgres;
  documents: Documents<NotificationDocument>;
  clock: Clock;
  /** Decrypt the tickets of exports. */
  keys: EncryptionKeys;
}

/** A page of a user's data: devices and preferences in the first one, and notifications. @throws UNAUTHENTICATED without a valid ticket */
export async function exportNotifications(
  { postgres, documents, clock, keys }: Deps,
  { params: { ticket, cursor } }: Ctx<Params<"notifications.exportPage">>,
): Promise<Result<"notifications.exportPage">> {
  const userId = userOfTicket(ticket, keys, clock.now());
  if (!userId) throw fail("UNAUTHENTICATED");
  const { items, nextCursor } = await listHistory({ documents }, userId, {
    limit: PAGE,
    ...(cursor && { cursor }),
  });
  const next = nextCursor && { nextCursor };
  if (cursor !== undefined) return { page: { notifications: items }, ...next };
  const [devices, preferences] = await Promise.all([
    devicesOf(postgres.db, userId),
    preferencesOf(postgres.db, userId),
  ]);
  return { page: { devices, preferences, notifications: items }, ...next };
}
