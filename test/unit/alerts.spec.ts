import { readFileSync } from "node:fs";
import { describe, expect, it } from "@jest/globals";
import { alert, alertAudience, alertFrequency, alertKinds, alertUrgency } from "../../contracts/alerts.ts";

describe("an alert", () => {
  it("with any wording, is a message that can be sent and stored", () => {
    const { subject, data } = alert("refund.failed", `${"x".repeat(1_999)}🍕\0`, {
      subject: "re_\ud83c",
      under: "the order",
    });
    expect(subject).toBe("the order");
    expect(data).toEqual({
      version: 1,
      kind: "refund.failed",
      subject: "re_\ufffd",
      detail: `${"x".repeat(1_999)}…`,
    });
  });

  it("without any wording, names at least its kind", () => {
    expect(alert("refund.failed", "\0", { subject: "\n" }).data).toMatchObject({
      subject: "unknown",
      detail: "refund.failed",
    });
  });

  it.each([
    [
      "each",
      ["payment.unmatched", "payment.unusable", "payment.contradiction", "refund.unknown", "refund.failed"],
    ],
    ["hourly", ["order.not_ready", "order.no_deliverer", "order.deliverer_silent", "order.undeliverable"]],
    ["once", ["row.unreadable", "payment.unreadable"]],
    ["each", ["a kind of another version", "toString"]],
  ])("is sent %s: %j", (told, kinds) => {
    expect(kinds.map(alertFrequency)).toEqual(kinds.map(() => told));
  });

  it("of safety or money, and any that is critical or unknown, never waits for the end of quiet hours", () => {
    for (const [kind, { severity, concern }] of Object.entries(alertKinds)) {
      const isUrgent = severity === "critical" || ["safety", "money"].includes(concern);
      expect([kind, alertUrgency(kind)]).toEqual([
        kind,
        { bothChannels: severity === "critical", deferrable: !isUrgent },
      ]);
    }
    expect(alertUrgency("a kind of another version")).toEqual({ bothChannels: true, deferrable: false });
  });

  it.each([
    ["refund.failed", ["finance", "admin"]],
    ["order.not_accepted", ["support", "admin"]],
    ["handover.locked", ["support", "admin"]],
    ["webhook.saturated", ["admin"]],
    ["a kind of another version", ["admin"]],
  ])("of the kind %s is sent to %j", (kind, roles) => {
    expect(alertAudience(kind)).toEqual(roles);
  });

  it("of every kind, is in the page with its severity and concern", () => {
    const page = readFileSync("docs/operating.md", "utf8");
    const documented = [...page.matchAll(/^\| (critical|warning) \| (\w+) \| (.+?) \|$/gm)].flatMap(
      ([, severity, concern, kinds = ""]) =>
        [...kinds.matchAll(/`([^`]+)`/g)].map(([, kind]) => `${kind} ${severity} ${concern}`),
    );
    const present = Object.entries(alertKinds).map(
      ([kind, { severity, concern }]) => `${kind} ${severity} ${concern}`,
    );
    expect(documented.toSorted()).toEqual(present.toSorted());
  });

  it("of every kind, is in the page that describes the action", () => {
    const page = readFileSync("docs/operating.md", "utf8");
    expect(Object.keys(alertKinds).filter((kind) => !page.includes(`\`${kind}\``))).toEqual([]);
  });
});
