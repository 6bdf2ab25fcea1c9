import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { generated, table } from "./markdown.ts";

interface Rule {
  alert: string;
  expr: string;
  for?: string;
  labels: { severity: string };
  annotations: { description: string };
}

/** docs/alerts.md: every alert of Prometheus with its threshold. */
export function alertsPage(root: string): string {
  const file = "deploy/prometheus/alerts.yml";
  const { groups } = parse(readFileSync(join(root, file), "utf8")) as { groups: { rules: Rule[] }[] };
  const rows = groups
    .flatMap(({ rules }) => rules)
    .map(({ alert, expr, for: duration = "", labels, annotations }) => [
      `\`${alert}\``,
      labels.severity,
      `\`${expr.replace(/\s+/g, " ").trim()}\``,
      duration,
      annotations.description,
    ]);
  const intro = [
    `The alerts of [${file}](../${file}). \`page\` wakes a person, \`ticket\` waits for the day. What to do is in`,
    "[operating.md](operating.md#watching).",
  ].join("\n");
  return `${generated("Alerts", intro)}\n${table(["alert", "severity", "raised when", "for", "meaning"], rows)}\n`;
}
