import { LEGAL } from "../simulation/checks.ts";
import { difference, type Evidence, type Invariant, repeated, sum } from "./evidence.ts";

/** Each names itself by what it promises. */
export const invariants = {
  "no acknowledged payment is lost": ({ ledger, books }) => {
    const events = new Set(books.events.map(({ eventId }) => eventId));
    const receipts = new Map(books.receipts.map((receipt) => [receipt.paymentId, receipt]));
    return [...ledger.paymentEvents].flatMap(([eventId, { paymentId, amountMinor, acknowledged }]) => {
      if (!acknowledged) return [];
      if (!events.has(eventId)) return [`event ${eventId} was acknowledged and is not stored`];
      const booked = receipts.get(paymentId);
      if (booked?.amount === amountMinor) return [];
      return [
        `payment ${paymentId} of ${amountMinor} was acknowledged and is booked as ${booked?.amount ?? "nothing"}`,
      ];
    });
  },

  "no payment is booked twice or invented": ({ books, bank }) => [
    ...repeated(books.receipts, ({ paymentId }) => paymentId, "receipt of payment"),
    ...repeated(books.events, ({ eventId }) => eventId, "payment event"),
    ...books.receipts.flatMap(({ paymentId, amount }) => {
      const paid = bank.payments.get(paymentId);
      return paid?.amountMinor === amount
        ? []
        : [`payment ${paymentId} of ${amount} is booked, the bank knows ${paid?.amountMinor ?? "none"}`];
    }),
    ...books.orders.flatMap(({ id, paid }) => {
      const received = sum(
        books.receipts.filter(({ orderId, outcome }) => orderId === id && outcome !== "unmatched"),
      );
      return received === paid ? [] : [`order ${id} counts ${paid} as paid, its receipts are ${received}`];
    }),
  ],

  "each refund went back once, and all that is owed went back": ({ books, bank }) => {
    const known = new Map(books.refunds.map((refund) => [refund.id, refund]));
    const refundsOf = Map.groupBy(books.refunds, ({ orderId }) => orderId);
    const given = Map.groupBy(bank.refunds.values(), ({ paymentId }) => paymentId);
    return [
      ...books.refunds.flatMap(({ id, amount, state }) => {
        const back = bank.refunds.get(id);
        if (state === "completed" && back?.amountMinor === amount) return [];
        return [`refund ${id} of ${amount} is ${state}, the bank gave ${back?.amountMinor ?? "nothing"}`];
      }),
      ...[...bank.refunds.values()].flatMap(({ id, amountMinor }) =>
        known.has(id) ? [] : [`the bank gave ${amountMinor} back by ${id}, which nobody here asked for`],
      ),
      ...[...given].flatMap(([paymentId, all]) => {
        const paid = bank.payments.get(paymentId)?.amountMinor ?? 0;
        const back = all.reduce((total, { amountMinor }) => total + amountMinor, 0);
        return back <= paid ? [] : [`${back} went back of payment ${paymentId}, which was ${paid}`];
      }),
      ...books.orders.flatMap(({ id, status, total, paid, refunded, pending }) => {
        const done = sum((refundsOf.get(id) ?? []).filter(({ state }) => state === "completed"));
        const kept = paid - refunded;
        const isOver = status === "cancelled" || status === "expired";
        const isPaid = !isOver && status !== "pending";
        return [
          ...(done === refunded
            ? []
            : [`order ${id} counts ${refunded} as refunded, its refunds are ${done}`]),
          ...(pending === 0 ? [] : [`order ${id} still owes ${pending}`]),
          ...(isOver && kept !== 0 ? [`order ${id} is ${status} and keeps ${kept}`] : []),
          ...(isPaid && kept !== total ? [`order ${id} is ${status}, costs ${total} and keeps ${kept}`] : []),
          ...(status === "pending" && kept >= total ? [`order ${id} is paid and still pending`] : []),
        ];
      }),
    ];
  },

  "each answer to a client has its effect": ({ ledger, books }) => {
    const orders = new Map(books.orders.map((order) => [order.id, order]));
    const moves = new Set(books.transitions.map(({ orderId, to }) => `${orderId} ${to}`));
    const wanted = { cancel: "cancelled", assign: "delivering", deliver: "delivered" };
    return [
      ...[...ledger.confirmed].flatMap(([id, { totalMinor }]) => {
        const total = orders.get(id)?.total;
        return total === totalMinor
          ? []
          : [`order ${id} of ${totalMinor} was confirmed and is ${total ?? "not there"}`];
      }),
      ...ledger.done.flatMap(({ orderId, what }) =>
        moves.has(`${orderId} ${wanted[what]}`)
          ? []
          : [`${what} of order ${orderId} was answered and did not happen`],
      ),
    ];
  },

  "each callback of a partner that was accepted is kept once, with its effect": ({ ledger, books }) => {
    const kept = new Set(books.callbacks.map(({ eventId }) => eventId));
    const said = new Set(books.transitions.map(({ orderId, type }) => `${orderId} ${type}`));
    return [
      ...repeated(books.callbacks, ({ partnerId, eventId }) => `${partnerId} ${eventId}`, "partner callback"),
      ...[...ledger.callbacks].flatMap(([eventId, { status, orderId, type }]) => {
        if (status !== 202) return [];
        if (!kept.has(eventId)) return [`${type} ${eventId} was accepted and is not stored`];
        const isMove = type === "order.ready" || type === "order.accepted" || type === "order.rejected";
        const has =
          said.has(`${orderId} ${type}`) ||
          said.has(`${orderId} order.cancelled`) ||
          said.has(`${orderId} order.ready`);
        return isMove && !has ? [`${type} of order ${orderId} was accepted and had no effect`] : [];
      }),
    ];
  },

  "each history is one line": ({ books }) => {
    const lines = Map.groupBy(books.transitions, ({ orderId }) => orderId);
    return books.orders.flatMap(({ id, status, version }) => {
      const line = lines.get(id) ?? [];
      const last = line.at(-1);
      const problems: string[] = [];
      for (const [index, { from, to, version: at }] of line.entries()) {
        const before = line[index - 1];
        const isLegal = before ? LEGAL[from ?? ""]?.includes(to) : !from && to === "pending";
        if (!isLegal) problems.push(`order ${id}: version ${at} went from ${from ?? "nothing"} to ${to}`);
        if (before && (from !== before.to || at <= before.version)) {
          problems.push(`order ${id}: version ${at} goes on from ${from}, before it was ${before.to}`);
        }
      }
      // The end of a refund increments the version and is no move.
      if (last?.to !== status || last.version > version) {
        problems.push(
          `order ${id} is ${status} (${version}), its history ends with ${last?.to} (${last?.version})`,
        );
      }
      return problems;
    });
  },

  "each paid order is sent to its partner under one id": ({ ledger, books }) => {
    const paid = new Set(books.transitions.filter(({ to }) => to === "paid").map(({ orderId }) => orderId));
    const told = Map.groupBy(
      ledger.told.filter(({ type }) => type === "order.paid"),
      ({ orderId }) => orderId,
    );
    const asked = new Map(
      books.webhooks.filter(({ type }) => type === "order.paid").map((webhook) => [webhook.orderId, webhook]),
    );
    // The news that it is off may overtake the news that it is on.
    const calledOff = new Set(
      books.transitions
        .filter(({ from, to }) => from === "paid" && to === "cancelled")
        .map(({ orderId }) => orderId),
    );
    return [
      ...[...paid].flatMap((orderId) => {
        const accepted = told.get(orderId)?.some(({ status }) => status < 300);
        const webhook = asked.get(orderId);
        if (accepted || calledOff.has(orderId) || webhook?.stopped || webhook?.states.at(-1) === "dead")
          return [];
        return [
          `order ${orderId} was paid and its partner was not told (${webhook?.states.join() ?? "never tried"})`,
        ];
      }),
      ...[...told].flatMap(([orderId, calls]) => {
        const ids = new Set(calls.map(({ webhookId }) => webhookId));
        return [
          ...(ids.size === 1 ? [] : [`order ${orderId} was told to its partner under ${ids.size} ids`]),
          ...(paid.has(orderId) ? [] : [`order ${orderId} was told to its partner and is not paid`]),
        ];
      }),
    ];
  },

  "no effect is outside its order": ({ ledger, books }) =>
    // A repeat has the same id, for every kind of webhook.
    [...Map.groupBy(ledger.told, ({ webhookId }) => webhookId)].flatMap(([webhookId, calls]) => {
      const known = books.webhooks.some((webhook) => webhook.webhookId === webhookId);
      const same = new Set(calls.map(({ type, orderId }) => `${type} ${orderId}`)).size === 1;
      return [
        ...(known ? [] : [`the partner was told ${webhookId}, which nobody wrote down`]),
        ...(same ? [] : [`the webhook ${webhookId} said different things`]),
      ];
    }),

  "stock is conserved": ({ books, stockBefore }) => {
    const held = Map.groupBy(
      books.reservations.filter(({ state }) => state !== "released"),
      ({ productId }) => productId,
    );
    const ended = new Map(books.orders.map(({ id, status }) => [id, status]));
    return [
      ...books.stock.flatMap(({ productId, left }) => {
        const before = stockBefore.get(productId);
        const taken = (held.get(productId) ?? []).reduce((all, line) => all + line.taken, 0);
        if (before === undefined || before === left + taken) return [];
        return [`of product ${productId} there were ${before}: ${left} are left and ${taken} are taken`];
      }),
      ...books.reservations.flatMap(({ orderId, state, taken }) => {
        const status = ended.get(orderId);
        const isOver = status === "cancelled" || status === "expired";
        return isOver && state === "held" && taken > 0
          ? [`order ${orderId} is ${status} and still holds pieces`]
          : [];
      }),
    ];
  },

  "documents tell what the tables tell": ({ books }) => {
    const completed = books.refunds.filter(({ state }) => state === "completed");
    const receipts = books.paymentDocuments.filter(({ kind }) => kind === "receipt");
    const refunds = books.paymentDocuments.filter(({ kind }) => kind === "refund");
    return [
      ...difference(
        "receipt",
        books.receipts.map(({ paymentId, amount }) => `${paymentId} of ${amount}`),
        receipts.map(({ paymentId, amount }) => `${paymentId} of ${amount}`),
      ),
      ...difference(
        "refund of payment",
        completed.map(({ paymentId, amount }) => `${paymentId} of ${amount}`),
        refunds.map(({ paymentId, amount }) => `${paymentId} of ${amount}`),
      ),
      ...difference(
        "history of order",
        books.transitions.map(({ orderId, version }) => `${orderId} at ${version}`),
        books.historyDocuments.map(({ orderId, version }) => `${orderId} at ${version}`),
      ),
    ];
  },

  "no notification is sent twice": ({ ledger, books }) => {
    const shown = Map.groupBy(ledger.pushes, ({ collapseId }) => collapseId);
    const sameNews = new Map<string, Set<string>>();
    for (const { token, event, orderId, collapseId } of ledger.pushes) {
      if (!orderId || !event) continue;
      const news = `${event} of order ${orderId} to ${token}`;
      sameNews.set(news, (sameNews.get(news) ?? new Set()).add(collapseId));
    }
    return [
      ...repeated(
        books.notifications,
        ({ messageId, addressee }) => `${messageId} ${addressee}`,
        "notification",
      ),
      ...books.notifications.flatMap(({ id, state }) =>
        state === "pending" ? [`notification ${id} is still pending`] : [],
      ),
      ...[...shown].flatMap(([collapseId, all]) =>
        new Set(all.map(({ token, orderId }) => `${token} ${orderId}`)).size === 1
          ? []
          : [`the collapse id ${collapseId} hides different news`],
      ),
      ...[...sameNews].flatMap(([news, ids]) =>
        ids.size > 1 && /^order\.(paid|delivered|expired)/.test(news)
          ? [`${news} was shown ${ids.size} times`]
          : [],
      ),
    ];
  },

  "each paid order's customer was notified, or the reason is recorded": ({ ledger, books }) => {
    const isNews = (event?: string) => event === "order.paid";
    const pushed = new Set(ledger.pushes.flatMap(({ event, orderId }) => (isNews(event) ? [orderId] : [])));
    const rows = new Map(
      books.notifications.filter(({ event }) => isNews(event)).map((row) => [row.orderId, row]),
    );
    const late = new Set(books.toldTooLate);
    return books.transitions.flatMap(({ orderId, to }) => {
      if (to !== "paid" || pushed.has(orderId)) return [];
      const row = rows.get(orderId);
      if (!row) return late.has(orderId) ? [] : [`of the paid order ${orderId} nobody was told`];
      const isSaid =
        row.state === "failed" || row.state === "pending" || (row.state === "sent" && row.mailed);
      return isSaid
        ? []
        : [`the news of the paid order ${orderId} is ${row.state}, and neither phone nor mailbox got it`];
    });
  },

  "each payment without a matching order raises an alert of its own": ({ books }) => {
    const alerts = Map.groupBy(
      books.alerts.filter(({ kind }) => kind === "payment.unmatched"),
      ({ subject }) => subject,
    );
    const heard = new Set(books.notifications.map(({ messageId }) => messageId));
    return books.receipts.flatMap(({ paymentId, outcome }) => {
      if (outcome !== "unmatched") return [];
      const raised = alerts.get(paymentId) ?? [];
      if (raised.length !== 1) return [`payment ${paymentId} fits no order and has ${raised.length} alerts`];
      return raised.some(({ id }) => heard.has(id))
        ? []
        : [`payment ${paymentId} fits no order, and no operator heard of it`];
    });
  },

  "no message is dead": ({ books }) =>
    books.deadLetters.map(
      ({ consumer, type, subject, error }) =>
        `${type} of ${subject} is dead with ${consumer}: ${error.slice(0, 120)}`,
    ),
} satisfies Record<string, Invariant>;

/** The problems of a run, by the broken promise. */
export function judge(evidence: Evidence): { promise: string; problems: string[] }[] {
  return Object.entries<Invariant>(invariants)
    .map(([promise, check]) => ({ promise, problems: check(evidence) }))
    .filter(({ problems }) => problems.length > 0);
}
