import { createHash } from "node:crypto";
import { parse } from "@babel/parser";
import type { Expression, Node, Statement } from "@babel/types";
import { sqlMutants } from "./sql-mutants.ts";

/** The kind of change. A kind that starts with "sql-" changes a statement's text. */
export type Kind =
  | "guard-removed"
  | "condition-negated"
  | "operand-removed"
  | "comparison-shifted"
  | "number-changed"
  | "await-dropped"
  | "call-removed"
  | "sql-condition"
  | "sql-comparison"
  | "sql-lock"
  | "sql-conflict"
  | "sql-order";

export interface Edit {
  kind: Kind;
  /** Offsets into the file's text. */
  start: number;
  end: number;
  replacement: string;
}

export interface Mutant extends Edit {
  /** Stable while the changed lines stay as they are, wherever they move to in the file. */
  id: string;
  file: string;
  line: number;
  before: string;
}

/** Our statements write their keywords in capitals, which prose doesn't. */
const SQL = /\b(?:SELECT|INSERT INTO|UPDATE|DELETE FROM|WHERE)\s/;
const SHIFTED: Record<string, string> = {
  ...{ "<": "<=", "<=": "<", ">": ">=", ">=": ">", "===": "!==", "!==": "===" },
};
/** A duration in another unit is a mistake of its own kind: a change by one would be noticed by nothing. */
const DURATION = /(?:_MS|Ms|_SECONDS|Seconds)$/;

/** Every small change of a TypeScript file that a test should notice. */
export function mutantsOf(file: string, source: string): Mutant[] {
  const edits: Edit[] = [];
  const program = parse(source, {
    sourceType: "module",
    plugins: ["typescript"],
    allowReturnOutsideFunction: true,
  }).program;
  visit(program, undefined, (node, parent) => edits.push(...editsOf(node, parent, source)));
  const seen = new Map<string, number>();
  return edits
    .sort((a, b) => a.start - b.start || a.end - b.end)
    .map((edit) => {
      const before = source.slice(edit.start, edit.end);
      const key = [file, edit.kind, lineAround(source, edit.start), before, edit.replacement].join("\0");
      const count = seen.get(key) ?? 0;
      seen.set(key, count + 1);
      const id = createHash("sha256").update(`${key}\0${count}`).digest("hex").slice(0, 10);
      const line = source.slice(0, edit.start).split("\n").length;
      return { ...edit, id, file, line, before };
    });
}

export function applied(source: string, { start, end, replacement }: Edit): string {
  return source.slice(0, start) + replacement + source.slice(end);
}

function lineAround(source: string, offset: number): string {
  const from = source.lastIndexOf("\n", offset - 1) + 1;
  const to = source.indexOf("\n", offset);
  return source.slice(from, to < 0 ? undefined : to).trim();
}

function visit(node: Node, parent: Node | undefined, see: (node: Node, parent?: Node) => void): void {
  // Types are not run.
  if (node.type.startsWith("TS") && !("expression" in node)) return;
  see(node, parent);
  for (const [key, value] of Object.entries(node)) {
    if (key === "loc" || key === "typeAnnotation") continue;
    for (const child of Array.isArray(value) ? value : [value]) {
      if (child && typeof child === "object" && typeof child.type === "string") visit(child, node, see);
    }
  }
}

function editsOf(node: Node, parent: Node | undefined, source: string): Edit[] {
  switch (node.type) {
    case "IfStatement":
      return leaves(node.consequent)
        ? [edit("guard-removed", node.test, "false")]
        : [edit("condition-negated", node.test, `!(${text(source, node.test)})`)];
    case "ConditionalExpression":
      return [edit("condition-negated", node.test, `!(${text(source, node.test)})`)];
    case "LogicalExpression":
      return [
        edit("operand-removed", node, text(source, node.left)),
        ...(node.operator === "??" ? [] : [edit("operand-removed", node, text(source, node.right))]),
      ];
    case "BinaryExpression": {
      const shifted = SHIFTED[node.operator];
      if (!shifted) return [];
      return [
        edit(
          "comparison-shifted",
          node,
          `${text(source, node.left as Expression)} ${shifted} ${text(source, node.right)}`,
        ),
      ];
    }
    case "NumericLiteral":
      return numberEdits(node, parent);
    case "ExpressionStatement":
      return statementEdits(node.expression, source);
    case "TemplateLiteral":
      return node.quasis.flatMap((part) => sqlEdits(part.start as number, part.value.raw, source, node));
    case "StringLiteral":
      return sqlEdits(
        (node.start as number) + 1,
        source.slice((node.start as number) + 1, (node.end as number) - 1),
        source,
        node,
      );
    default:
      return [];
  }
}

function edit(kind: Kind, node: Node, replacement: string): Edit {
  return { kind, start: node.start as number, end: node.end as number, replacement };
}

function text(source: string, node: Node): string {
  return source.slice(node.start as number, node.end as number);
}

/** Whether the statement ends the function or the round: then the condition before it is a guard. */
function leaves(statement: Statement): boolean {
  if (statement.type === "BlockStatement")
    return statement.body.length > 0 && leaves(statement.body.at(-1) as Statement);
  return ["ThrowStatement", "ReturnStatement", "ContinueStatement", "BreakStatement"].includes(
    statement.type,
  );
}

function numberEdits(node: Node & { value: number }, parent: Node | undefined): Edit[] {
  // An index or a position is noticed at once; so are sizes of arrays.
  if (parent?.type === "MemberExpression") return [];
  const name = nameOf(parent);
  const changed = DURATION.test(name) && node.value > 1 ? node.value * 1000 : node.value + 1;
  return [edit("number-changed", node, String(changed))];
}

function nameOf(parent: Node | undefined): string {
  if (parent?.type === "VariableDeclarator" && parent.id.type === "Identifier") return parent.id.name;
  if (parent?.type === "ObjectProperty" && parent.key.type === "Identifier") return parent.key.name;
  return "";
}

function statementEdits(expression: Expression, source: string): Edit[] {
  if (expression.type === "AwaitExpression") {
    const argument = text(source, expression.argument);
    return [
      // The rejection is caught, so that only what did not wait can be noticed.
      edit("await-dropped", expression, `void Promise.resolve(${argument}).catch(() => {})`),
      edit("call-removed", expression, "undefined"),
    ];
  }
  return expression.type === "CallExpression" ? [edit("call-removed", expression, "undefined")] : [];
}

function sqlEdits(offset: number, sql: string, source: string, whole: Node): Edit[] {
  if (!SQL.test(text(source, whole))) return [];
  return sqlMutants(sql).map(({ kind, start, end, replacement }) => ({
    ...{ kind, start: offset + start, end: offset + end, replacement },
  }));
}
