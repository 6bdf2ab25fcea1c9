import { orderStatus } from "../../contracts/orders.ts";
import { deadlines, endings, moves, unnotified } from "../../services/orders/domain/order.ts";
import { WRONG_PINS_MAX } from "../../services/orders/domain/order-delivery.ts";
import { paidPollTimesMs, pollTimesMs } from "../../services/orders/domain/order-reconciliation.ts";
import { generated, table } from "./markdown.ts";

interface Row {
  to: string;
  may: Partial<Record<string, readonly string[]>>;
  message: string;
  refunds?: string;
}

const rows = Object.entries<Row>(moves);

/** docs/states.md: the order's life, drawn from the table that the code runs on. */
export function statesPage(): string {
  const intro = [
    "An order moves only along these lines. Every other move is refused with `illegal_transition` and the list of legal",
    "ones. A repeated command gets the first answer again, and nothing moves.",
  ].join("\n");
  return [
    generated("The life of an order", intro),
    diagram(),
    "\n## Who may make which move\n",
    table(["move", "to", "by (from these states)", "message", "refunded to the customer"], rows.map(moveRow)),
    "\n## Who may end it, and who bears the loss\n",
    ENDINGS,
    table(["state", ...ENDERS], Object.entries(endings).map(endingRow)),
    "\n## Wrong PINs\n",
    PINS,
    "\n## Deadlines\n",
    DEADLINES,
    table(
      ["state", "after", "then"],
      [
        ...Object.entries(deadlines).map(deadlineRow),
        deadlineRow(["paid, the partner not notified", unnotified]),
      ],
    ),
    "\n## Polls of the bank\n",
    LOOKS,
    "",
  ].join("\n");
}

const ENDERS = ["customer", "partner", "admin", "deadline"];
const ENDINGS = [
  "Every ending refunds the whole payment. A cell names the command, and the party that bears the costs of the order until",
  "then; an empty cell refuses with `order_not_cancellable` or `illegal_transition`. An operator can also refund any part of",
  "the kept money of an order that is no longer pending (`POST /orders/{id}/refund`); the platform bears that. Refunds of",
  "excess, late or repeated payments are no loss of any party (`nobody`).",
  "",
].join("\n");
const PINS = [
  `Each wrong PIN counts, and the count stays with the order when it is released and assigned to another deliverer.`,
  `The wrong PIN number ${WRONG_PINS_MAX} locks the handover: \`handover_locked\` for the right PIN too, and the alert`,
  "`handover.locked`. A locked order that is released is not offered in the pool, and no deliverer can assign it to",
  "themselves. An operator must reassign it, which resets the count, or override it.",
].join("\n");
const DEADLINES = [
  "The time counts by the database's clock from the order's move into the state. An alert is the message `alert.raised`,",
  "repeated until an operator acts; `orders stuck` lists the order. A partner's time to accept begins when Partners",
  "reports the notice: the partner's system accepted the webhook, or failed for a reason on its side, or the partner has",
  "no endpoint and its staff see the order in their list. While the platform itself cannot notify the partner",
  "(the message waits in the outbox, is a dead letter, or the webhook cannot be sent), the alert names the cause, and the",
  "order is not cancelled: only its customer or an operator can end it, and the platform bears an operator's decision.",
  "",
].join("\n");
const LOOKS = [
  `The bank is polled about an order without a payment ${pollTimesMs.map(ageText).join(", ")} after its creation, because a`,
  "callback may be lost; the last polls come after its end, when its page is closed too. A paid order is polled",
  `${paidPollTimesMs.map(ageText).join(" and ")} after its payment, because it may be paid twice. A payment that is found has the same effect`,
  "as its callback, and an excess is refunded; other differences (`payment.missing`, `refund.difference`,",
  "`payment.contradiction`) raise one alert.",
].join("\n");

const SINCE = { readyAt: "past the promised time", partnerNotifiedAt: "after the partner was notified" };

function ageText(ms: number): string {
  return ms < 3_600_000 ? `${ms / 60_000} min` : `${ms / 3_600_000} h`;
}

function endingRow([state, actors]: [string, (typeof endings)[keyof typeof endings]]): string[] {
  const cells = new Map(Object.entries(actors ?? {}));
  return [
    state,
    ...ENDERS.map((actor) => {
      const cell = cells.get(actor);
      return cell ? `${cell.by.join(", ")}: ${cell.borneBy}` : "";
    }),
  ];
}

function diagram(): string {
  const arrows = rows.flatMap(([name, { to, may }]) => {
    const from = new Set(Object.values(may).flatMap((states) => states ?? []));
    return [...from].map((state) => `  ${state} --> ${to}: ${name}`);
  });
  const ends = orderStatus.values.filter(
    (state) => !arrows.some((arrow) => arrow.startsWith(`  ${state} -->`)),
  );
  const last = ends.map((state) => `  ${state} --> [*]`);
  return ["```mermaid", "stateDiagram-v2", "  [*] --> pending: confirm", ...arrows, ...last, "```"].join(
    "\n",
  );
}

function moveRow([name, { to, may, message, refunds }]: [string, Row]): string[] {
  const who = Object.entries(may).map(([actor, from]) => `${actor} (${from?.join(", ")})`);
  return [name, to, who.join("; "), `\`${message}\``, refunds ?? "nothing"];
}

function deadlineRow([state, deadline]: [
  string,
  { afterMs: number; setting?: string; from?: keyof typeof SINCE; effect: string },
]): string[] {
  const setting = deadline.setting ? " (or the partner's `acceptance_minutes`)" : "";
  const minutes = `${deadline.afterMs / 60_000} min${setting}`;
  return [state, deadline.from ? `${minutes} ${SINCE[deadline.from]}` : minutes, deadline.effect];
}
