import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { beforeAll, describe, expect, it } from "@jest/globals";
import { parse } from "yaml";
import { errorCatalogue as errors } from "../../contracts/errors.ts";
import { eventually } from "../support/eventually.ts";
import { platform } from "../support/platform.ts";

const root = resolve(import.meta.dirname, "../..");
const text = (path: string) => readFileSync(resolve(root, path), "utf8");

interface Rule {
  alert: string;
  expr: string;
  labels: Record<string, string>;
  annotations: Record<string, string>;
}
interface Panel {
  title: string;
  type: string;
  targets?: { expr: string }[];
}

const rules = (parse(text("deploy/prometheus/alerts.yml")) as { groups: { rules: Rule[] }[] }).groups.flatMap(
  (group) => group.rules,
);
const dashboard = JSON.parse(text("deploy/grafana/dashboards/waybill.json")) as {
  uid: string;
  panels: Panel[];
};
const panels = dashboard.panels.filter(({ type }) => type !== "row");
const asked: [string, string][] = [
  ...rules.map(({ alert, expr }): [string, string] => [alert, expr]),
  ...panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }): [string, string] => [title, expr])),
];
/** Of an expression: metrics with the labels that it selects or groups by. */
const metricsIn = (expr: string) => new Set(expr.match(/\b(?:waybill|process|nodejs)_[a-z_]+/g) ?? []);
/** A process with everything in it has no Redis to reach. */
const ofClusters = ["waybill_redis_up"];

let offered: Set<string>;
beforeAll(async () => {
  const { opsUrl } = await platform();
  offered = await eventually(async () => {
    const body = await (await fetch(`${opsUrl}/metrics`)).text();
    const names = new Set([...body.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name]) => name as string));
    if (!names.has("waybill_outbox_messages"))
      throw new Error("the services have not told their figures yet");
    return names;
  });
});

describe("dashboard and alerts", () => {
  it.each(asked)("%s uses only metrics that the platform offers", (_name, expr) => {
    const unknown = [...metricsIn(expr)].filter(
      (name) =>
        !offered.has(name) &&
        !offered.has(name.replace(/_(bucket|sum|count)$/, "")) &&
        !ofClusters.includes(name),
    );
    expect(unknown).toEqual([]);
    expect(metricsIn(expr).size + Number(/\bup\{/.test(expr))).toBeGreaterThan(0);
  });

  it("show every metric of the services", () => {
    const shown = asked.flatMap(([, expr]) => [...metricsIn(expr)]).join(" ");
    const own = [...offered].filter((name) => name.startsWith("waybill_"));
    // Metrics that only explain others: no alert and no panel uses them.
    const silent = ["waybill_rate_limit_leased_hits", "waybill_redis_unanswered_total"];
    expect(own.filter((name) => !shown.includes(name) && !silent.includes(name))).toEqual([]);
  });

  it.each(["operating.md", "notifications.md", "alerts.md"])(
    "in docs/%s, name only existing metrics",
    (page) => {
      const named = [...text(`docs/${page}`).matchAll(/`(waybill_[a-z_]+)/g)].map(
        ([, name]) => name as string,
      );
      expect(named.filter((name) => !offered.has(name) && !ofClusters.includes(name))).toEqual([]);
    },
  );

  it("name every error that clients see as a server error", () => {
    const ours = Object.entries(errors)
      .filter(([type, { status }]) => status >= 500 && type !== "BANK_UNAVAILABLE")
      .map(([type]) => type);
    const failing = asked.filter(([, expr]) => expr.includes("outcome=~"));
    expect(failing.length).toBe(2);
    for (const [, expr] of failing) {
      const named = /outcome=~"([^"]+)"/.exec(expr)?.[1]?.split("|") ?? [];
      expect(named).toEqual(expect.arrayContaining(ours));
    }
  });
});

describe("alerts", () => {
  it("contain problem, severity and instructions", () => {
    for (const { alert, labels, annotations } of rules) {
      expect([alert, labels.severity]).toEqual([alert, expect.stringMatching(/^(page|ticket)$/)]);
      expect([alert, Object.keys(annotations).sort()]).toEqual([alert, ["description", "summary"]]);
    }
    expect(new Set(rules.map(({ alert }) => alert)).size).toBe(rules.length);
  });
});
