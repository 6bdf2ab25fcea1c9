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
    "An order moves only along these lines, whoever asks; every other move is refused with `illegal_transition` and",
    "the list of the legal ones. Whoever sends a command again is answered as the first time, and nothing moves.",
  ].join("\n");
  return [
    generated("The life of an order", intro),
    diagram(),
    "\n## Who may make which move\n",
    table(
      ["move", "to", "who, and out of which states", "told as", "goes back to the customer"],
      rows.map(moveRow),
    ),
    "\n## Who may end it, and whose loss it is\n",
    ENDINGS,
    table(["state", ...ENDERS], Object.entries(endings).map(endingRow)),
    "\n## When the PIN is wrong\n",
    PINS,
    "\n## When it waits too long\n",
    DEADLINES,
    table(
      ["state", "after", "then it"],
      [
        ...Object.entries(deadlines).map(deadlineRow),
        deadlineRow(["paid, the partner not notified", unnotified]),
      ],
    ),
    "\n## When its bank is asked\n",
    LOOKS,
    "",
  ].join("\n");
}

const ENDERS = ["customer", "partner", "admin", "deadline"];
const ENDINGS = [
  "Whatever was paid goes back in full, whoever ends it; the cell says by which command, and who bears what the order",
  "has cost until then. An empty cell refuses with `order_not_cancellable` or `illegal_transition`. Besides, an operator",
  "can send back any part of what is kept of an order that is no longer pending (`POST /orders/{id}/refund`); the",
  "platform bears that. Money that was too much, late or paid twice goes back as nobody's loss.",
  "",
].join("\n");
const PINS = [
  `Each wrong PIN counts, and the count stays with the order when it is released and assigned to another deliverer.`,
  `The one that makes it ${WRONG_PINS_MAX} locks the handover: \`handover_locked\` for the right PIN too, and the alert`,
  "`handover.locked`. A locked order that is released is not offered in the pool, and no deliverer can assign it to",
  "themselves. An operator has to reassign it (the count begins again) or override it.",
].join("\n");
const DEADLINES = [
  "Counted by the database's clock from the moment the order came into the state. An alert is `alert.raised`, repeated",
  "until somebody acts; the order then stands among `orders stuck`. A partner's time to accept begins when Partners",
  "reports that the partner was notified: its system took the webhook, or failed to take it for a reason of its own, or",
  "it has no endpoint and its staff see the order in their list. While the platform itself cannot notify the partner",
  "(the message waits in the outbox, is a dead letter, or the webhook cannot be sent), the alert names the cause, and the",
  "order is not cancelled: only its customer or an operator can end it, and the platform bears an operator's decision.",
  "",
].join("\n");
const LOOKS = [
  `An order that lacks its payment is asked about at its bank ${pollTimesMs.map(ageText).join(", ")} after it was made, for`,
  "the callback may be lost: the last times after it has ended, when its page is closed too. One that is paid is asked",
  `about ${paidPollTimesMs.map(ageText).join(" and ")} after its payment, for it may be paid twice. What is found is taken in as a`,
  "callback would be, and goes back where it is too much; what differs otherwise (`payment.missing`,",
  "`refund.difference`, `payment.contradiction`) is told to operators, once.",
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
