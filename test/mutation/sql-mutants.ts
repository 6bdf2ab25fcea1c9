import type { Edit } from "./mutants.ts";

/** Words that end a condition at its own depth of brackets. */
const ENDS =
  /^(?:and|or|order\s+by|group\s+by|limit|offset|for\s+(?:no\s+key\s+)?(?:update|share|key\s+share)|returning|on\s+conflict|union|having|window|set|from|where|then|when|else|end|do|left|inner|join|cross|using)\b/i;
const BEGINS = /^(?:where|and|on|filter\s*\(\s*where|having)\s+/i;
const COMPARISON = /(?<=\s)(?:<=|>=|<|>)(?=\s)/g;
const SHIFTED: Record<string, string> = { "<": "<=", "<=": "<", ">": ">=", ">=": ">" };

/**
 * Every small change of a statement's text that a test should notice. A removed condition becomes `(… OR TRUE)`: its
 * bindings stay, so that the statement does not fail for their number.
 */
export function sqlMutants(sql: string): Edit[] {
  return [
    ...conditions(sql).map((edit) => ({ kind: "sql-condition" as const, ...edit })),
    ...matches(sql, COMPARISON, (operator) => SHIFTED[operator] as string).map((edit) => ({
      ...{ kind: "sql-comparison" as const, ...edit },
    })),
    ...matches(sql, /\s+for\s+(?:no\s+key\s+)?update(?:\s+of\s+\w+)?(?:\s+skip\s+locked)?/gi, () => "").map(
      (edit) => ({
        ...{ kind: "sql-lock" as const, ...edit },
      }),
    ),
    ...matches(sql, /\s+skip\s+locked/gi, () => "").map((edit) => ({ kind: "sql-lock" as const, ...edit })),
    ...matches(sql, /\bis\s+not\s+null\b/gi, () => "IS NULL").map((edit) => ({
      kind: "sql-comparison" as const,
      ...edit,
    })),
    ...matches(sql, /\bis\s+null\b/gi, () => "IS NOT NULL").map((edit) => ({
      kind: "sql-comparison" as const,
      ...edit,
    })),
    ...matches(sql, /\s+on\s+conflict[^;]*?do\s+nothing/gi, () => "").map((edit) => ({
      ...{ kind: "sql-conflict" as const, ...edit },
    })),
    ...matches(sql, /\border\s+by\s+[\w.]+(?!\w|\()(?:\s+desc\b)?/gi, (found) =>
      /\sdesc$/i.test(found) ? found.replace(/\s+desc$/i, "") : `${found} DESC`,
    ).map((edit) => ({ kind: "sql-order" as const, ...edit })),
  ];
}

type Place = Omit<Edit, "kind">;

function matches(sql: string, pattern: RegExp, replace: (found: string) => string): Place[] {
  return [...sql.matchAll(pattern)].map((match) => ({
    ...{ start: match.index, end: match.index + match[0].length, replacement: replace(match[0]) },
  }));
}

function conditions(sql: string): Place[] {
  const found: Place[] = [];
  for (const match of sql.matchAll(/\b(?:where|and|on|having)\s+/gi)) {
    if (
      !BEGINS.test(match[0]) ||
      betweenBefore(sql, match.index) ||
      /^on\s+conflict/i.test(sql.slice(match.index))
    )
      continue;
    const start = match.index + match[0].length;
    const end = endOfCondition(sql, start);
    const condition = sql.slice(start, end).trimEnd();
    if (!wholeCondition(condition)) continue;
    found.push({ start, end: start + condition.length, replacement: `(${condition} OR TRUE)` });
  }
  return found;
}

/** A condition that goes on in another piece of the text can't be put into brackets. */
function wholeCondition(condition: string): boolean {
  const brackets = condition.split("(").length - condition.split(")").length;
  return (
    condition.length > 2 &&
    brackets === 0 &&
    !/(?:[=<>(,]|\b(?:in|any|is|not|and|or))$/i.test(condition) &&
    !/^(?:update|delete|conflict)\b/i.test(condition)
  );
}

/** Whether the `and` at this place belongs to `between … and …`. */
function betweenBefore(sql: string, offset: number): boolean {
  return /\bbetween\s+[^\s]+\s*$/i.test(sql.slice(0, offset));
}

function endOfCondition(sql: string, start: number): number {
  let depth = 0;
  for (let at = start; at < sql.length; at++) {
    const sign = sql[at];
    if (sign === "(") depth++;
    else if (sign === ")" && --depth < 0) return at;
    else if (sign === ";") return at;
    else if (depth === 0 && /\s/.test(sql[at - 1] ?? " ") && ENDS.test(sql.slice(at, at + 30))) {
      if (/^and\b/i.test(sql.slice(at)) && betweenBefore(sql, at)) continue;
      return at;
    }
  }
  return sql.length;
}
