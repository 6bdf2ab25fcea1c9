import type { Props, Rule } from "../../contracts/schema.ts";

/**
 * The two spellings of names: camelCase in the contracts, snake_case in JSON. Everything here goes by the
 * schema and never by what a value happens to hold: undeclared fields do not pass in either direction, the
 * names within a `record` are data and stay as they are, and no key of a request ever becomes a property name.
 */
type Shape = Rule & { readonly props?: Props; readonly items?: Rule };
export type Convert = (value: unknown) => unknown;

const snakeNames = new Map<string, string>();

/** `postalCode` -> `postal_code`; `line1` stays. Only for names of schemas, which are finitely many. */
export function snakeName(name: string): string {
  let snake = snakeNames.get(name);
  if (snake === undefined) {
    snake = toSnake(name);
    snakeNames.set(name, snake);
  }
  return snake;
}

/** The path of a field as the client knows it: `lines[0].unitPrice` -> `lines[0].unit_price`. */
export function toSnake(path: string): string {
  return path.replace(/(?<=[a-z0-9])[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

const wireRules = new WeakMap<Rule, Rule>();

/** The schema as the client sees it: the same rules under the names of the wire. */
export function wireRule(rule: Rule): Rule {
  const { props, items } = rule as Shape;
  if (!props && !items) return rule;
  let wire = wireRules.get(rule);
  if (!wire) {
    wire = { ...rule, ...(props && { props: wireProps(props) }), ...(items && { items: wireRule(items) }) };
    wireRules.set(rule, wire);
  }
  return wire;
}

const propsOnTheWire = new WeakMap<Props, Props>();

/** One object for the same fields, however often they are used: by it the OpenAPI document knows a schema again. */
export function wireProps(props: Props): Props {
  let wire = propsOnTheWire.get(props);
  if (!wire) {
    wire = Object.fromEntries(Object.entries(props).map(([name, rule]) => [snakeName(name), wireRule(rule)]));
    propsOnTheWire.set(props, wire);
  }
  return wire;
}

/** Makes a result of an action what a client reads: declared fields only, in snake_case. */
export function encoder(rule: Rule): Convert {
  return converter(rule, (name) => [name, snakeName(name)]);
}

/** Makes what a client sent (after its validation) the parameters of an action. */
export function decoder(rule: Rule): Convert {
  return converter(rule, (name) => [snakeName(name), name]);
}

function converter(rule: Rule, names: (name: string) => [from: string, to: string]): Convert {
  const { props, items } = rule as Shape;
  if (items) {
    const convert = converter(items, names);
    return (value) => (Array.isArray(value) ? value.map(convert) : value);
  }
  if (!props) return (value) => value;
  const fields = Object.entries(props).map(([name, field]) => {
    const [from, to] = names(name);
    return { from, to, convert: converter(field, names) };
  });
  return (value) => {
    if (typeof value !== "object" || value === null) return value;
    const source = value as Record<string, unknown>;
    const target: Record<string, unknown> = {};
    for (const { from, to, convert } of fields) {
      if (!Object.hasOwn(source, from)) continue;
      const converted = convert(source[from]);
      if (converted !== undefined && converted !== null) target[to] = converted;
    }
    return target;
  };
}

const MAX_FACTS_DEPTH = 8;

/** The facts that an error carries: they have no schema, so every name is converted and depth is bounded. */
export function encodeFacts(value: unknown, depth = 0): unknown {
  if (depth > MAX_FACTS_DEPTH) return undefined;
  if (Array.isArray(value)) return value.map((item) => encodeFacts(item, depth + 1));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, fact]) => [toSnake(name), encodeFacts(fact, depth + 1)]),
  );
}
