import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { describe, expect, it } from "@jest/globals";
import { protoCatalogue } from "../../packages/moleculer-grpc/src/proto-catalogue.ts";
import { routes } from "../../services/api/routes/index.ts";
import { root, text } from "../support/manifests.ts";
import { serviceCalls } from "../support/service-calls.ts";

const page = text("docs/architecture.md");
const protos = protoCatalogue(join(root, "proto"));

/** The edges of the flowcharts, as `orders -.-> media`. */
const arrows = [...page.matchAll(/^ {2}(\w+) (-- gRPC -->|-\.->) (\w+)$/gm)].map(
  ([, from, arrow, to]) => `${from} ${arrow} ${to}`,
);

/** The edges that the code has: all actions of another service that a service calls or has a route to. */
const calls = [
  ...serviceCalls,
  ...routes.map(({ action }) => ({ service: "api", action: action as string })),
].flatMap(({ service, action = "" }) => {
  const to = action.slice(0, action.indexOf("."));
  return to && to !== service ? [{ from: service, to, isGrpc: protos.methodOf(action) !== undefined }] : [];
});

/** Steps of the page: one list of files for each part of a way. */
interface Part {
  /** The bold line above the list, which may name what crosses over, as `orders.confirm`. */
  crossing: string;
  files: string[];
}
const ways = page.slice(page.indexOf("## Three ways"), page.indexOf("## How a message travels"));
const parts: Part[] = [...ways.matchAll(/([^\n]*)\n\n((?:1?\d\. `[^\n]+\n)+)/g)].map(
  ([, crossing = "", list = ""]) => ({
    crossing,
    files: [...list.matchAll(/^\d+\. `([^`]+)`/gm)].map(([, file]) => file as string),
  }),
);

const importsOf = (file: string): string[] =>
  [...readFileSync(join(root, file), "utf8").matchAll(/\bfrom "(\.[^"]+)"/g)].map(([, target]) =>
    relative(root, resolve(join(root, dirname(file)), target as string)),
  );
const imports = new Map(
  globSync("{services,mixins,packages/*/src}/**/*.ts", { cwd: root }).map(
    (file) => [file, importsOf(file)] as const,
  ),
);
const reaches = (file: string, next: string) =>
  imports.get(file)?.includes(next) || imports.get(file)?.some((each) => imports.get(each)?.includes(next));
/** Whether one imports the other, at most through one file, or one file imports both and puts them together. */
const areJoined = (file: string, next: string) =>
  reaches(file, next) ||
  reaches(next, file) ||
  [...imports.values()].some((each) => each.includes(file) && each.includes(next));

describe("docs/architecture.md", () => {
  it("draws every call between services, and no other", () => {
    const wanted = calls.flatMap(({ from, to, isGrpc }) => [
      `${from} ${isGrpc ? "-- gRPC -->" : "-.->"} ${to}`,
    ]);
    const kinds = (from: string, to: string) =>
      new Set(calls.filter((call) => call.from === from && call.to === to).map(({ isGrpc }) => isGrpc));
    // Where both kinds are used, gRPC is drawn.
    const drawn = new Set(
      wanted.filter((edge) => {
        const [from = "", , to = ""] = edge.replace(" gRPC ", " ").replace("-- -->", "-->").split(" ");
        return !edge.includes("-.->") || !kinds(from, to).has(true);
      }),
    );
    expect(drawn.size).toBeGreaterThan(10);
    expect([...new Set(arrows)].toSorted()).toEqual([...drawn].toSorted());
  });

  it("draws the message bus at every service with an outbox or an inbox", () => {
    const drawn = [...page.matchAll(/^ {2}(\w+) <-- messages --> broker/gm)].map(([, service]) => service);
    const wired = globSync("services/*/*.service.ts", { cwd: root })
      .filter((file) => /outbox\/outbox\.mixin|consumer\/consumer\.mixin/.test(text(file)))
      .map((file) => file.split("/")[1]);
    expect(drawn.toSorted()).toEqual(wired.toSorted());
  });

  it("names existing files of each way in an order in which they import each other", () => {
    expect(parts.length).toBeGreaterThan(8);
    // An item that is wrapped would end its list here.
    expect(parts.flatMap(({ files }) => files)).toHaveLength(ways.match(/^\d+\. `/gm)?.length ?? 0);
    const missing = parts.flatMap(({ files }) => files).filter((file) => !existsSync(join(root, file)));
    expect(missing).toEqual([]);
    const gaps = parts.flatMap(({ files }) =>
      files.slice(1).flatMap((next, at) => {
        const file = files[at] as string;
        return areJoined(file, next) ? [] : [`${file} does not lead to ${next}`];
      }),
    );
    expect(gaps).toEqual([]);
  });

  it("has twelve files for a confirmation, and three for its reservation", () => {
    const confirm = ways.slice(0, ways.indexOf("### A payment system reports a payment"));
    const files = [...confirm.matchAll(/^\d+\. `([^`]+)`/gm)].map(([, file]) => file as string);
    const ofReservation = files.filter((file) => file.startsWith("services/partners/"));
    expect([files.length - ofReservation.length, ofReservation.length]).toEqual([12, 3]);
  });

  it("continues each part by actions and messages that the parts name", () => {
    const crossed = parts.flatMap(({ crossing, files }, at) => {
      const [, name = ""] = /`([a-z]+\.\w+)`/.exec(crossing) ?? [];
      if (name === "") return [];
      // Before or after the crossing, a file writes the name.
      const near = [...(parts[at - 1]?.files ?? []), ...files];
      return [{ crossing, named: near.some((file) => text(file).includes(`"${name}"`)) }];
    });
    expect(crossed.length).toBeGreaterThan(4);
    expect(crossed.filter(({ named }) => !named)).toEqual([]);
  });

  it("computes cores with the CPU time of an order life that was measured, to a fifth", () => {
    const [, used = ""] = /computed with ([\d.]+) ms of Node CPU/.exec(page) ?? [];
    const [, measured = ""] =
      /^\| order life, CPU us of Node \| ([\d,]+) \|/m.exec(text("docs/figures.md")) ?? [];
    const ratio = (Number(used) * 1_000) / Number(measured.replaceAll(",", ""));
    expect(ratio).toBeGreaterThan(0.8);
    expect(ratio).toBeLessThan(1.25);
  });
});
