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

const sentOnTheWire = new WeakMap<Props, Props>();

/**
 * The fields as a client may send them: null stands for every field that may be left out. It clears the field where
 * the contract says so (`clearable`), and elsewhere is the same as leaving it out.
 */
export function sentProps(props: Props): Props {
  let sent = sentOnTheWire.get(props);
  if (!sent) {
    const entries = Object.entries(props).map(([name, rule]) => [name, sentField(rule)] as const);
    const isSame = entries.every(([name, rule]) => rule === props[name]);
    sent = isSame ? props : Object.fromEntries(entries);
    sentOnTheWire.set(props, sent);
  }
  return sent;
}

function sentField(rule: Rule): Rule {
  const sent = sentRule(rule);
  if (!rule.optional && rule.absent === undefined) return sent;
  return { ...sent, optional: true, nullable: true };
}

function sentRule(rule: Rule): Rule {
  const { props, items } = rule as Shape;
  const [sent, item] = [props && sentProps(props), items && sentRule(items)];
  if (sent === props && item === items) return rule;
  return { ...rule, ...(sent && { props: sent }), ...(item && { items: item }) } as Rule;
}

/** Makes a result of an action what a client reads: declared fields only, in snake_case. */
export function encoder(rule: Rule): Convert {
  return converter(rule, (name) => [name, snakeName(name)], false);
}

/** Makes what a client sent (after its validation) the parameters of an action. */
export function decoder(rule: Rule): Convert {
  return converter(rule, (name) => [snakeName(name), name], true);
}

type Names = (name: string) => [from: string, to: string];

/** @param sent whether null and what is missing have the meaning that they have from a client */
function converter(rule: Rule, names: Names, sent: boolean): Convert {
  const { props, items } = rule as Shape;
  if (items) {
    const convert = converter(items, names, sent);
    return (value) => (Array.isArray(value) ? value.map(convert) : value);
  }
  if (!props) return (value) => value;
  const fields = Object.entries(props).map(([name, field]) => {
    const [from, to] = names(name);
    const nothing = sent ? { cleared: field.nullable === true, absent: field.absent } : undefined;
    return { from, to, convert: converter(field, names, sent), nothing };
  });
  return (value) => {
    if (typeof value !== "object" || value === null) return value;
    const source = value as Record<string, unknown>;
    const target: Record<string, unknown> = {};
    for (const { from, to, convert, nothing } of fields) {
      const given = Object.hasOwn(source, from) ? source[from] : undefined;
      if (given !== undefined && given !== null) target[to] = convert(given);
      else if (given === null && nothing?.cleared) target[to] = null;
      else if (nothing?.absent !== undefined) target[to] = nothing.absent;
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
