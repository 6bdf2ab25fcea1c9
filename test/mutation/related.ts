import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";

const IMPORT = /(?:\bfrom|\bimport)\s*\(?\s*"(\.[^"]+)"/g;
const FOLDERS = [
  "test",
  "services",
  "mixins",
  "packages",
  "providers",
  "platform",
  "lib",
  "contracts",
  "sandbox",
];

/** The specs that load one of the files, by whatever chain of imports. */
export function specsThatLoad(root: string, files: readonly string[]): string[] {
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
  const loading = new Set(files);
  for (const file of loading) for (const importer of importers.get(file) ?? []) loading.add(importer);
  return [...loading].filter((file) => file.endsWith(".spec.ts")).sort();
}
