import { newId } from "../../../lib/ids.ts";
import type * as real from "../../../mixins/consumer/inbox.repository.ts";
import { statement } from "../memory.ts";
import type { View } from "../view.ts";

export * from "../../../mixins/consumer/inbox.repository.ts";

const SUSPECT_AFTER = 2;

export interface InboxRecord extends Omit<real.InboxRow, "state"> {
  group: string;
  state: "waiting" | "quarantined" | "done" | "dead";
  attempts: number;
  nextAtMs: number;
  leaseToken?: string | undefined;
}

const keyOf = (group: string, messageId: string) => `${group}/${messageId}`;

export const acceptMessages: typeof real.acceptMessages = (db, group, messages, { token, leaseMs }) =>
  statement(db, (view) => {
    const record = ({ claim, done, ...message }: real.ArrivedMessage) => ({
      ...message,
      group,
      ...(done && { state: "done" }),
      ...(claim
        ? { attempts: 1, nextAtMs: view.nowMs + leaseMs, leaseToken: token }
        : { attempts: 0, nextAtMs: view.nowMs }),
    });
    const fresh = messages.filter((one) => view.insert("inbox", keyOf(group, one.id), record(one)));
    if (view.world.faults.has("no inbox dedupe")) {
      const known = messages.filter((one) => !fresh.includes(one));
      for (const one of known)
        view.insert("inbox", keyOf(group, `${one.id}/${newId()}`), record({ ...one, claim: false }));
    }
    return new Set(fresh.map(({ id }) => id));
  });

export const claimDue: typeof real.claimDue = (db, { group, types, limit, isolated, token, leaseMs }) =>
  statement(db, (view) => {
    const take = (mustBeAlone: boolean, most: number) => {
      const taken: [string, InboxRecord][] = [];
      for (const [key, one] of due) {
        if (taken.length >= most) break;
        const isAlone = one.leaseToken !== undefined && one.attempts >= SUSPECT_AFTER;
        if (isAlone === mustBeAlone && view.lockedNow("inbox", key)) taken.push([key, one]);
      }
      return taken;
    };
    const due = view
      .all<InboxRecord>("inbox")
      .filter(
        ([, one]) =>
          one.group === group &&
          one.state === "waiting" &&
          one.nextAtMs <= view.nowMs &&
          types.includes(one.type),
      )
      .sort(([, a], [, b]) => a.nextAtMs - b.nextAtMs);
    return [...take(false, limit), ...take(true, isolated)].map(([key, one]) => {
      const { id, source, type, subject, time, dataschema, traceparent, data, error } = one;
      const attempts = one.attempts + 1;
      view.update("inbox", key, { ...one, attempts, leaseToken: token, nextAtMs: view.nowMs + leaseMs });
      return {
        ...{
          messageId: key.slice(group.length + 1),
          source,
          type,
          subject,
          time,
          dataschema,
          data,
          attempts,
        },
        ...{
          replayed: false,
          suspect: one.leaseToken !== undefined,
          share: limit,
          ...(traceparent && { traceparent }),
          ...(error && { error }),
        },
        ...{ id },
      };
    });
  });

export const renewLeases: typeof real.renewLeases = (db, group, held, leaseMs) =>
  statement(db, (view) => {
    const renewed = new Set<string>();
    for (const { messageId, token } of held) {
      const key = keyOf(group, messageId);
      if (view.get<InboxRecord>("inbox", key)?.leaseToken !== token) continue;
      const one = view.lockedNow<InboxRecord>("inbox", key);
      if (!one || one.leaseToken !== token) continue;
      view.update("inbox", key, { ...one, nextAtMs: view.nowMs + leaseMs });
      renewed.add(messageId);
    }
    return renewed;
  });

export const markDone: typeof real.markDone = (trx, fence) =>
  statement(trx, (view) => {
    const found = fenced(view, fence);
    if (found) view.update("inbox", ...over(found, { state: "done" }));
    return found !== undefined;
  });

export const markAllDone: typeof real.markAllDone = (trx, fences) =>
  statement(trx, (view) => {
    const done = new Set<string>();
    for (const fence of fences) {
      const found = fenced(view, fence);
      if (!found) continue;
      view.update("inbox", ...over(found, { state: "done" }));
      done.add(fence.messageId);
    }
    return done;
  });

export const reschedule: typeof real.reschedule = (db, fence, delayMs, countsAs, error) =>
  statement(db, (view) => {
    const found = fenced(view, fence);
    if (!found) return false;
    const [key, one] = found;
    view.update("inbox", key, {
      ...one,
      leaseToken: undefined,
      nextAtMs: view.nowMs + delayMs,
      attempts: one.attempts - 1 + countsAs,
      ...(error && { error }),
    });
    return true;
  });

export const markDead: typeof real.markDead = (db, fence, { attempts, error, deadLetterId }) =>
  statement(db, (view) => {
    const found = fenced(view, fence);
    if (found) view.update("inbox", ...over(found, { state: "dead", attempts, error, deadLetterId }));
    return found !== undefined;
  });

export const pruneInbox: typeof real.pruneInbox = async () => 0;

type Found = [key: string, row: InboxRecord];

/** The row that the lease is for, as long as it is held. */
function fenced(view: View, { group, messageId, token }: real.Fence): Found | undefined {
  const key = keyOf(group, messageId);
  const one = view.locked<InboxRecord>("inbox", key);
  if (!one) return undefined;
  if (one.leaseToken !== token && !view.world.faults.has("lease not fenced")) return undefined;
  return [key, one];
}

function over([key, one]: Found, change: Partial<InboxRecord>): Found {
  return [key, { ...one, ...change, leaseToken: undefined }];
}
