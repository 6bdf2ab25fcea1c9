import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";

const IMPORT = /(?:\bfrom|\bimport)\s*\(?\s*"(\.[^"]+)"/g;
const FOLDERS = ["test", "services", "mixins", "providers", "platform", "lib", "contracts", "sandbox"];
/** Suites that start other processes: what runs there can't be seen, and each costs many seconds. */
const APART = /^test\/(?:e2e|cluster|faults|containers|fuzz|mutation|servers)\//;

/** Which specs reach a file by imports, and over how many; the nearest first. */
export function specsByDistance(root: string): (file: string) => { spec: string; distance: number }[] {
  const importers = new Map<string, string[]>();
  for (const folder of FOLDERS) {
    for (const name of readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })) {
      if (!name.endsWith(".ts")) continue;
      const file = `${folder}/${name}`;
      for (const [, target] of readFileSync(join(root, file), "utf8").matchAll(IMPORT)) {
        const imported = relative(root, resolve(dirname(join(root, file)), target as string));
        importers.set(imported, [...(importers.get(imported) ?? []), file]);
      }
    }
  }
  return (file) => {
    const distances = new Map([[file, 0]]);
    for (const [at, distance] of distances) {
      for (const importer of importers.get(at) ?? []) {
        if (!distances.has(importer)) distances.set(importer, distance + 1);
      }
    }
    return [...distances]
      .filter(([path]) => path.endsWith(".spec.ts") && !APART.test(path))
      .map(([spec, distance]) => ({ spec, distance }))
      .sort((a, b) => a.distance - b.distance);
  };
}
