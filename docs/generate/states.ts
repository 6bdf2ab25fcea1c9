import { orderStatus } from "../../contracts/orders.ts";
import { deadlines, moves } from "../../services/orders/order.ts";
import { generated, table } from "./markdown.ts";

interface Row {
  to: string;
  may: Partial<Record<string, readonly string[]>>;
  tells: string;
  refunds?: string;
}

const rows = Object.entries<Row>(moves);

/** docs/states.md: the order's life, drawn from the table that the code runs on. */
export function statesPage(): string {
  const intro = [
    "An order moves only along these lines, whoever asks; every other move is refused with `illegal_transition` and",
    "the list of the legal ones. A repeat of the same command returns the same result and changes nothing.",
  ].join("\n");
  return [
    generated("The life of an order", intro),
    diagram(),
    "\n## Who may make which move\n",
    table(
      ["move", "to", "who, and out of which states", "told as", "goes back to the customer"],
      rows.map(moveRow),
    ),
    "\n## When it waits too long\n",
    table(["state", "after", "then it"], Object.entries(deadlines).map(deadlineRow)),
    "",
  ].join("\n");
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

function moveRow([name, { to, may, tells, refunds }]: [string, Row]): string[] {
  const who = Object.entries(may).map(([actor, from]) => `${actor} (${from?.join(", ")})`);
  return [name, to, who.join("; "), `\`${tells}\``, refunds ?? "nothing"];
}

function deadlineRow([state, deadline]: [
  string,
  { afterMs: number; from?: string; effect: string },
]): string[] {
  const minutes = `${deadline.afterMs / 60_000} min`;
  return [state, deadline.from ? `${minutes} past the promised time` : minutes, deadline.effect];
}
