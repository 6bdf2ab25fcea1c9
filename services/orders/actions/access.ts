import { fail } from "../../../contracts/errors.ts";
import type { Caller } from "../../../contracts/meta.ts";
import type { Actor } from "../domain/order-model.ts";
import type { Owner } from "../store/order-lists.repository.ts";
import { acting } from "../store/order-trace.ts";
import type { Viewer } from "../store/orders.repository.ts";

/** Which orders a caller may see at all. @throws FORBIDDEN for staff without a partner */
export function viewerOf(caller: Caller): Viewer {
  const owner = ownerOf(caller);
  return owner.role === "admin" ? { role: "anybody" } : owner;
}

/** Which orders a caller may look at: their own whatever their role, and those of their work. @throws FORBIDDEN */
export function readerOf(caller: Caller): Viewer {
  const { role, id, partnerId } = caller;
  if (role === "admin") return { role: "anybody" };
  if (role === "partner" && !partnerId) throw fail("FORBIDDEN");
  return {
    ...{ role: "person", id, carries: role === "deliverer" },
    ...(role === "partner" && partnerId && { partnerId }),
  };
}

/** Whose orders the caller's own list holds. @throws FORBIDDEN for staff without a partner */
export function ownerOf({ role, id, partnerId }: Caller): Owner {
  if (role === "admin") return { role };
  if (role !== "partner") return { role, id };
  if (!partnerId) throw fail("FORBIDDEN");
  return { role, partnerId, id };
}

/** The caller as the table of moves knows them. */
export function actorOf({ role, id }: Caller): Actor {
  return acting(role, id);
}
