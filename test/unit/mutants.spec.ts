import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "@jest/globals";
import { notRun } from "../mutation/coverage.ts";
import { applied, type Mutant, mutantsOf } from "../mutation/mutants.ts";
import { type Outcome, reportPage, shareText } from "../mutation/report.ts";

/** The texts that a source becomes, each by one change. */
const changesOf = (source: string, kind: string) =>
  mutantsOf("some.ts", source)
    .filter((mutant) => mutant.kind === kind)
    .map((mutant) => applied(source, mutant));

describe("changes of TypeScript", () => {
  it("of a guarding condition, let everything pass", () => {
    expect(changesOf('if (late) throw new Error("late");', "guard-removed")).toEqual([
      'if (false) throw new Error("late");',
    ]);
    expect(changesOf("if (late) { say(); return; }", "guard-removed")).toEqual([
      "if (false) { say(); return; }",
    ]);
  });

  it("of any other condition, invert it", () => {
    expect(changesOf("if (late) say();", "condition-negated")).toEqual(["if (!(late)) say();"]);
    expect(changesOf("x = late ? 1 : 2;", "condition-negated")).toEqual(["x = !(late) ? 1 : 2;"]);
  });

  it("of operands, leave one out; of `??`, only the default", () => {
    expect(changesOf("x = a && b;", "operand-removed")).toEqual(["x = a;", "x = b;"]);
    expect(changesOf("x = a ?? b;", "operand-removed")).toEqual(["x = a;"]);
  });

  it("of comparisons, move the limit by one", () => {
    expect(changesOf("x = a < b;", "comparison-shifted")).toEqual(["x = a <= b;"]);
  });

  it("of numbers, add one, and give a duration another unit", () => {
    expect(changesOf("const MAX = 10;", "number-changed")).toEqual(["const MAX = 11;"]);
    expect(changesOf("const WAIT_MS = 10;", "number-changed")).toEqual(["const WAIT_MS = 10000;"]);
  });

  it("of an awaited call, do not wait for it, or remove it", () => {
    expect(changesOf("await save();", "await-dropped")).toEqual([
      "void Promise.resolve(save()).catch(() => {});",
    ]);
    expect(changesOf("await save();", "call-removed")).toEqual(["undefined;"]);
  });

  it("of types, do not exist", () => {
    expect(mutantsOf("some.ts", "type Limit = 1 | 2; const x: 3 = y as 3;")).toEqual([]);
  });

  it("keep their ids when lines are added before them, and have different ones for equal lines", () => {
    const source = "if (a) return;\nif (a) return;";
    const ids = (text: string) => mutantsOf("some.ts", text).map(({ id }) => id);
    expect(new Set(ids(source)).size).toBe(2);
    expect(ids(`const z = y;\n${source}`)).toEqual(ids(source));
  });
});

describe("changes of SQL", () => {
  const sql = (text: string, kind: string) =>
    changesOf(`row(\`${text}\`)`, kind).map((one) => one.slice(5, -2));

  it("of a condition, let every row pass and keep its bindings", () => {
    expect(sql("SELECT 1 FROM t WHERE a = ? AND b BETWEEN ? AND ? LIMIT ?", "sql-condition")).toEqual([
      "SELECT 1 FROM t WHERE (a = ? OR TRUE) AND b BETWEEN ? AND ? LIMIT ?",
      "SELECT 1 FROM t WHERE a = ? AND (b BETWEEN ? AND ? OR TRUE) LIMIT ?",
    ]);
  });

  it("of a condition within brackets, end with them", () => {
    expect(
      sql("DELETE FROM t WHERE id IN (SELECT id FROM t WHERE old) RETURNING id", "sql-condition"),
    ).toEqual([
      "DELETE FROM t WHERE (id IN (SELECT id FROM t WHERE old) OR TRUE) RETURNING id",
      "DELETE FROM t WHERE id IN (SELECT id FROM t WHERE (old OR TRUE)) RETURNING id",
    ]);
  });

  it("of locks, take the lock or only its SKIP LOCKED away", () => {
    expect(sql("SELECT 1 FROM t FOR UPDATE SKIP LOCKED", "sql-lock")).toEqual([
      "SELECT 1 FROM t",
      "SELECT 1 FROM t FOR UPDATE",
    ]);
  });

  it("of comparisons, orders and conflicts, are one each", () => {
    expect(sql("SELECT 1 FROM t WHERE at <= now() ORDER BY at", "sql-comparison")).toEqual([
      "SELECT 1 FROM t WHERE at < now() ORDER BY at",
    ]);
    expect(sql("SELECT 1 FROM t WHERE at <= now() ORDER BY at", "sql-order")).toEqual([
      "SELECT 1 FROM t WHERE at <= now() ORDER BY at DESC",
    ]);
    expect(sql("INSERT INTO t VALUES (1) ON CONFLICT (id) DO NOTHING", "sql-conflict")).toEqual([
      "INSERT INTO t VALUES (1)",
    ]);
  });

  it("of prose with such words, do not exist", () => {
    expect(mutantsOf("some.ts", 'say("Delete it where and when you want, order by order.")')).toMatchObject([
      { kind: "call-removed" },
    ]);
  });
});

describe("coverage of a spec", () => {
  const range = (startOffset: number, endOffset: number, count: number) => ({
    startOffset,
    endOffset,
    count,
  });

  it("is what ran of the text: inner ranges overrule outer ones", () => {
    expect(notRun(20, [range(0, 20, 1), range(5, 15, 0), range(8, 10, 3)])).toEqual([
      [5, 8],
      [10, 15],
    ]);
  });

  it("excludes code that no range names", () => {
    expect(notRun(10, [])).toEqual([[0, 10]]);
    expect(notRun(10, [range(2, 10, 1)])).toEqual([[0, 2]]);
  });
});

describe("report", () => {
  const outcome = (verdict: Outcome["verdict"], kind: Mutant["kind"]): Outcome => ({
    mutant: {
      ...{ id: "0123456789", file: "some.ts", line: 7, kind, before: "late", replacement: "false" },
      ...{ start: 0, end: 4 },
    },
    verdict,
    specs: ["a.spec.ts"],
  });

  it("counts by kind and excludes the equivalent ones from the share", () => {
    const outcomes = [
      outcome("found", "guard-removed"),
      outcome("survived", "sql-lock"),
      outcome("equivalent", "sql-lock"),
    ];
    const page = reportPage("no-such-page.md", [{ area: "orders", all: 900, seed: 4, outcomes }]);
    expect(page).toContain("Of 900 changes, a sample of 3, seed 4.");
    expect(page).toContain("| all | 3 | 1 | 1 | 1 | 50.0 % (9.5 to 90.5) |");
    expect(page).toContain("| sql-lock | 2 | 0 | 1 | 1 | 0.0 % (0.0 to 79.3) |");
    expect(page).toContain("- `0123456789` some.ts:7 sql-lock: `late` -> `false` (1 specs ran it)");
  });

  it("of one area leaves the sections of the others as they are", () => {
    const folder = mkdtempSync(join(tmpdir(), "waybill-report-"));
    try {
      const path = join(folder, "mutation.md");
      const sample = (area: string, all: number) => ({ area, all, outcomes: [] });
      writeFileSync(path, reportPage(path, [sample("orders", 1), sample("banks", 2)]));
      const page = reportPage(path, [sample("orders", 3)]);
      expect(page.match(/^## .*|^Of .*$/gm)).toEqual([
        ...["## banks", "Of 2 changes, all.", "## orders", "Of 3 changes, all."],
      ]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("gives the interval of a share with few samples", () => {
    expect(shareText(135, 150)).toBe("90.0 % (84.2 to 93.8)");
    expect(shareText(0, 0)).toBe("-");
  });
});
