import { decimalText, type Money } from "../../lib/money.ts";
import { shortenLine } from "../../lib/text.ts";

const TERMINAL_WIDTH = 80;
const GAP = "  ";
const LEAST_WIDTH = 6;

/**
 * Rows as text of at most 80 columns. Columns are as wide as what stands in them; when that is too wide together,
 * one column gives way, its texts ending in an ellipsis.
 * @param elastic the column that gives way; the last one unless told otherwise
 */
export function table(
  headings: readonly string[],
  rows: readonly (readonly string[])[],
  elastic = headings.length - 1,
): string {
  const lines = [headings, ...rows];
  const widths = headings.map((_, column) => Math.max(...lines.map((line) => (line[column] ?? "").length)));
  const total = widths.reduce((sum, width) => sum + width, 0) + GAP.length * (widths.length - 1);
  const width = widths[elastic] ?? 0;
  widths[elastic] = Math.max(Math.min(LEAST_WIDTH, width), width - Math.max(0, total - TERMINAL_WIDTH));
  const cells = (line: readonly string[]) =>
    widths.map((width, column) => fitted(line[column] ?? "", width)).join(GAP);
  return lines.map((line) => cells(line).trimEnd()).join("\n");
}

/** Names and what stands for them, one below the other; what is too long goes on below itself. */
export function facts(pairs: readonly (readonly [name: string, value: string])[]): string {
  const nameWidth = Math.max(...pairs.map(([name]) => name.length));
  const width = TERMINAL_WIDTH - nameWidth - GAP.length;
  return pairs
    .flatMap(([name, value]) =>
      wrapped(value, width).map((line, index) => (index === 0 ? name : "").padEnd(nameWidth) + GAP + line),
    )
    .join("\n");
}

function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(/\s+/)) {
    if (line && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line ? `${line} ${word}` : word;
  }
  return [...lines, line];
}

function fitted(text: string, width: number): string {
  return shortenLine(text, width).padEnd(width);
}

/** Who did it, with the end of their id: enough to see who is the same; `--json` tells it whole. */
export function actorText(actor: string): string {
  return actor.replace(/:?([0-9a-f]{8}-[0-9a-f-]{27})$/, (_, id: string, at: number) => {
    return `${at > 0 ? " " : "user "}…${id.slice(-6)}`;
  });
}

/** `11-22 08:01:22`, in UTC. */
export function shortTime(iso: string | undefined): string {
  return iso ? iso.slice(5, 19).replace("T", " ") : "";
}

/** `12.50 EUR`. */
export function moneyText(money: Money): string {
  return `${decimalText(money)} ${money.currency}`;
}
