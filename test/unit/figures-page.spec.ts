import { describe, expect, it } from "@jest/globals";
import { text } from "../support/manifests.ts";

/** The rows of a Markdown table by their first cell. */
const rowsOf = (page: string) =>
  new Map(
    [...text(page).matchAll(/^\| `?([^|`]+?)`? +\| (.+) \|$/gm)].map(
      ([, name, cells = ""]) => [name as string, cells.split("|").map((cell) => cell.trim())] as const,
    ),
  );
const figures = rowsOf("docs/figures.md");
const goals = rowsOf("bench/README.md");

const measured = (row: string) => Number(figures.get(row)?.[0]?.replaceAll(",", ""));
const ratio = (row: string) => Number(figures.get(row)?.[2]);
const inSeconds = (row: string) => measured(row) / 1_000;

describe("bench/README.md", () => {
  it.each<[string, string, number, number]>([
    ["products", "reached: # times", 1, ratio("GET /products (5.4 KB) beside a hello, CPU us a request")],
    ["own", "`GET /me` reached: # times", 1, ratio("GET /me beside a hello, CPU us a request")],
    ["own", "missed: # times", 1, ratio("GET /orders/{id} beside a hello, CPU us a request")],
    ["life", "missed: # times", 0, ratio("order life, CPU us, drained")],
    ["life", "times, # statements", 0, measured("order life, statements")],
    ["bridge", "missed: # times", 1, ratio("bridge: calls/s, 64 at once")],
    ["bridge", "with mutual TLS #,", 1, ratio("bridge with mutual TLS: calls/s, 64 at once")],
    ["consumer", "reached: # times", 1, ratio("messages/s of a consumer, against graphile-worker")],
    ["delivery", "reached: # ms", 0, measured("commit to handler over JetStream, p99 in ms")],
    ["overload", "missed: #,", 2, ratio("lives/s completed at twice the rate, against the maximum")],
    [
      "overload",
      ", # s",
      1,
      inSeconds("lives/s completed at twice the rate, against the maximum, p99 of an admitted request, ms"),
    ],
  ])("states for `%s` (%s) the figure of the newest run", (row, phrase, digits, figure) => {
    expect(goals.get(row)?.[1]).toContain(phrase.replace("#", figure.toFixed(digits)));
  });
});
