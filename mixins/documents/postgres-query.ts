import type { Search } from "./port.ts";

/** A piece of SQL with `?` for each binding. */
export interface Sql {
  text: string;
  bindings: unknown[];
}

const COMPARISONS: Readonly<Record<string, string>> = {
  $eq: "=",
  $lt: "<",
  $lte: "<=",
  $gt: ">",
  $gte: ">=",
  $ne: "IS DISTINCT FROM",
};
const NAME = /^[A-Za-z_]\w{0,59}$/;

/** The WHERE condition of a query. It uses the same expressions as the indexes of migrations/shared/documents.ts. */
export function conditionOf(query: object): Sql {
  const parts = Object.entries(query).flatMap(([field, wanted]) =>
    Object.entries(isComparison(wanted) ? wanted : { $eq: wanted }).map(([operator, value]) =>
      compare(field, operator, value),
    ),
  );
  return {
    text: parts.length === 0 ? "true" : parts.map(({ text }) => text).join(" AND "),
    bindings: parts.flatMap(({ bindings }) => bindings),
  };
}

export function orderOf(sort: Search["sort"]): string {
  if (sort.length === 0) return "";
  const terms = sort.map(
    (term) => `${columnOf(term.replace(/^-/, ""))}${term.startsWith("-") ? " DESC" : ""}`,
  );
  return `ORDER BY ${terms.join(", ")}`;
}

function compare(field: string, operator: string, value: unknown): Sql {
  const column = columnOf(field);
  const isId = field === "_id";
  if (operator === "$in") {
    const values = (value as unknown[]).map((one) => (isId ? one : JSON.stringify(one)));
    return { text: `${column} = ANY (?::${isId ? "text" : "jsonb"}[])`, bindings: [values] };
  }
  const sign = COMPARISONS[operator];
  if (!sign) throw new Error(`the operator ${operator} is not supported`);
  return isId
    ? { text: `${column} ${sign} ?`, bindings: [value] }
    : { text: `${column} ${sign} ?::jsonb`, bindings: [JSON.stringify(value)] };
}

function columnOf(field: string): string {
  if (field === "_id") return "id";
  if (!NAME.test(field)) throw new Error(`${field} is not a valid name of a field`);
  return `(document -> '${field}')`;
}

function isComparison(value: unknown): value is Record<string, unknown> {
  return (
    typeof value === "object" && value !== null && Object.keys(value).every((key) => key.startsWith("$"))
  );
}
