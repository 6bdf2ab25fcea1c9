import { decimalText, type Money } from "../../lib/money.ts";
import { shortenLine } from "../../lib/text.ts";

const TERMINAL_WIDTH = 80;
const GAP = "  ";
const LEAST_WIDTH = 6;

/**
 * Formats rows for 80 columns. If they are wider, one column is shortened with an ellipsis.
 * @param elastic index of the column that is shortened. Default: the last one
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

/** Formats names and values, one pair per line. Long values are wrapped. */
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

/** The actor with the last six characters of its id. `--json` prints the whole id. */
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
