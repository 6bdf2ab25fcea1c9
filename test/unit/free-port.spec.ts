import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "@jest/globals";
import { freePort, isPortFree } from "../../platform/free-port.ts";

const MODULE = fileURLToPath(new URL("../../platform/free-port.ts", import.meta.url));
const PROCESSES = 8;
const PORTS = 10;

describe("free ports", () => {
  it("are different and free, also before earlier ones are used", async () => {
    const ports: number[] = [];
    for (let n = 0; n < PORTS; n++) ports.push(await freePort());
    expect(new Set(ports).size).toBe(PORTS);
    expect(await Promise.all(ports.map((port) => isPortFree(port)))).toEqual(ports.map(() => true));
  });

  it("of processes that start one after the other are never the same", () => {
    const program = `const { freePort } = await import(${JSON.stringify(MODULE)});
      for (let n = 0; n < ${PORTS}; n++) console.log(await freePort());`;
    const given = Array.from({ length: PROCESSES }, () =>
      spawnSync(process.execPath, ["--input-type=module", "--eval", program], { encoding: "utf8" })
        .stdout.trim()
        .split("\n"),
    ).flat();
    expect(given).toHaveLength(PROCESSES * PORTS);
    expect(new Set(given).size).toBe(given.length);
  });
});
