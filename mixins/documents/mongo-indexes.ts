import type { Collection } from "mongodb";
import type { Logger } from "../../lib/logger.ts";
import type { Index } from "./port.ts";

type Key = Record<string, 1 | -1>;

/** Properties of an index that do not change its effect. */
const IGNORED_PROPERTIES = new Set(["v", "key", "name", "ns", "background"]);

/**
 * Creates the missing indexes. An index of the same name with another definition, and an index that is not in the list,
 * are reported and not changed: an operator decides when to rebuild an index of a busy collection.
 * @returns a line for each such index
 */
export async function ensureIndexes(
  collection: Collection,
  indexes: readonly Index[],
  logger: Logger,
): Promise<string[]> {
  const wanted = new Map(indexes.map((fields) => [nameOf(keyOf(fields)), keyOf(fields)]));
  const found = await existing(collection);
  const missing = [...wanted].filter(([name]) => !found.has(name));
  if (missing.length > 0) await collection.createIndexes(missing.map(([name, key]) => ({ name, key })));
  const reports = [...found]
    .filter(([name]) => name !== "_id_")
    .map(([name, { key, ...index }]) => difference(name, wanted.get(name), key as Key, index))
    .filter((line) => line !== undefined)
    .map((line) => `${collection.collectionName}: ${line}`);
  for (const report of reports) logger.warn(report);
  return reports;
}

function difference(name: string, wanted: Key | undefined, key: Key, index: object): string | undefined {
  const options = Object.entries(index).filter(([option]) => !IGNORED_PROPERTIES.has(option));
  if (!wanted) return `the index ${name} ${JSON.stringify(key)} is unknown`;
  const asWanted = JSON.stringify(wanted) === JSON.stringify(key) && options.length === 0;
  if (asWanted) return undefined;
  const is = JSON.stringify({ ...key, ...Object.fromEntries(options) });
  return `the index ${name} is ${is} and should be ${JSON.stringify(wanted)}: drop it, and the next start creates it`;
}

/** The existing indexes by name. A collection that does not exist has none. */
async function existing(collection: Collection): Promise<Map<string, { key: object }>> {
  try {
    const found = await collection.listIndexes().toArray();
    return new Map(found.map((index) => [index.name as string, index as { key: object }]));
  } catch (error) {
    if ((error as { codeName?: string }).codeName === "NamespaceNotFound") return new Map();
    throw error;
  }
}

function keyOf(fields: Index): Key {
  return Object.fromEntries(
    fields.map((field) => (field.startsWith("-") ? [field.slice(1), -1] : [field, 1])),
  );
}

/** MongoDB's default name of an index. */
function nameOf(key: Key): string {
  return Object.entries(key)
    .map(([field, direction]) => `${field}_${direction}`)
    .join("_");
}
