const TERMINAL_WIDTH = 80;
const GAP = "  ";
const LEAST_WIDTH = 6;

/**
 * Rows as text of at most 80 columns: columns are as wide as what stands in them, and while they are too wide
 * together, the widest gives way and its texts end in an ellipsis. Ids never do: half an id is no id.
 */
export function table(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [headings, ...rows];
  const widths = headings.map((_, column) => Math.max(...lines.map((line) => (line[column] ?? "").length)));
  const total = () => widths.reduce((sum, width) => sum + width, 0) + GAP.length * (widths.length - 1);
  const isIds = (column: number) => rows.some((row) => (row[column] ?? "").length === 36);
  while (total() > TERMINAL_WIDTH) {
    const widest = widths
      .map((width, column) => ({ width, column }))
      .filter(({ width, column }) => width > LEAST_WIDTH && !isIds(column))
      .sort((a, b) => b.width - a.width)[0];
    if (!widest) break;
    widths[widest.column] = widest.width - 1;
  }
  return lines
    .map((line) =>
      widths
        .map((width, column) => fitted(line[column] ?? "", width))
        .join(GAP)
        .trimEnd(),
    )
    .join("\n");
}

function fitted(text: string, width: number): string {
  const oneLine = text.replaceAll(/\s+/g, " ");
  return oneLine.length > width ? `${oneLine.slice(0, width - 1)}…` : oneLine.padEnd(width);
}

/** `11-22 08:01:22`, in UTC. */
export function shortTime(iso: string | undefined): string {
  return iso ? iso.slice(5, 19).replace("T", " ") : "";
}

/** `12.50 EUR`. */
export function moneyText(money: { amountMinor: number; currency: string }): string {
  const digits =
    new Intl.NumberFormat("en", { style: "currency", currency: money.currency }).resolvedOptions()
      .maximumFractionDigits ?? 2;
  return `${(money.amountMinor / 10 ** digits).toFixed(digits)} ${money.currency}`;
}
