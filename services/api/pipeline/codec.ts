import { object, type Props, type Rule } from "../../../contracts/schema.ts";
import { type Validate, validatorOf } from "../../../contracts/validation.ts";

/**
 * The codec of requests and answers: checks values by the schema that the client sees, and converts names between
 * camelCase (contracts) and snake_case (JSON). The schema decides, never the value: undeclared fields are dropped in both
 * directions, the names in a `record` are data and stay unchanged, and no key of a request becomes a property name.
 */
type Shape = Rule & { readonly props?: Props; readonly items?: Rule };
export type Convert = (value: unknown) => unknown;

const snakeNames = new Map<string, string>();

/** `postalCode` -> `postal_code`; `line1` stays. Only for names of schemas: the cache is unbounded. */
export function snakeName(name: string): string {
  let snake = snakeNames.get(name);
  if (snake === undefined) {
    snake = toSnake(name);
    snakeNames.set(name, snake);
  }
  return snake;
}

/** Converts the path of a field for the client: `lines[0].unitPrice` -> `lines[0].unit_price`. */
export function toSnake(path: string): string {
  return path.replace(/(?<=[a-z0-9])[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

const wireRuleCache = new WeakMap<Rule, Rule>();

/** The schema as the client sees it: the same rules with names in snake_case. */
export function wireRule(rule: Rule): Rule {
  const { props, items } = rule as Shape;
  if (!props && !items) return rule;
  let wire = wireRuleCache.get(rule);
  if (!wire) {
    wire = { ...rule, ...(props && { props: wireProps(props) }), ...(items && { items: wireRule(items) }) };
    wireRuleCache.set(rule, wire);
  }
  return wire;
}

const wirePropsCache = new WeakMap<Props, Props>();

/** Returns the same object for the same props, because the OpenAPI document recognizes named schemas by identity. */
export function wireProps(props: Props): Props {
  let wire = wirePropsCache.get(props);
  if (!wire) {
    wire = Object.fromEntries(Object.entries(props).map(([name, rule]) => [snakeName(name), wireRule(rule)]));
    wirePropsCache.set(props, wire);
  }
  return wire;
}

const sentPropsCache = new WeakMap<Props, Props>();

/**
 * The fields as a client may send them: null is allowed for every optional field. It clears a field that the contract
 * marks as `clearable`; for all others it equals leaving the field out.
 */
export function sentProps(props: Props): Props {
  let sent = sentPropsCache.get(props);
  if (!sent) {
    const entries = Object.entries(props).map(([name, rule]) => [name, sentField(rule)] as const);
    const isSame = entries.every(([name, rule]) => rule === props[name]);
    sent = isSame ? props : Object.fromEntries(entries);
    sentPropsCache.set(props, sent);
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

/** The fields that an operation reads from one part of the request: path, query or body. */
export interface RequestPart {
  /** The schema in the names that the client sends. */
  readonly rule: Rule & { readonly props: Props };
  readonly check: Validate;
  /** Converts to the names of the contract. */
  readonly decode: (value: unknown) => Record<string, unknown>;
}

/** A path or a query, whose fields have the types of the contract. */
export function exactPart(props: Props): RequestPart {
  return partOf(props, wireProps(props));
}

/** A JSON body, in which null is allowed as described at `sentProps`. */
export function sentPart(props: Props): RequestPart {
  return partOf(props, sentProps(wireProps(props)));
}

function partOf(props: Props, sent: Props): RequestPart {
  const rule = object(props);
  const wire = { ...rule, props: sent };
  return { rule: wire, check: validatorOf(wire), decode: decoder(rule) as RequestPart["decode"] };
}

/** Converts a result of an action to JSON for the client: declared fields only, in snake_case. */
export function encoder(rule: Rule): Convert {
  return converter(rule, (name) => [name, snakeName(name)], false);
}

/** Converts validated input of a client to the parameters of an action. */
export function decoder(rule: Rule): Convert {
  return converter(rule, (name) => [snakeName(name), name], true);
}

type Names = (name: string) => [from: string, to: string];

/** @param sent whether null and missing fields have the meaning described at `sentProps` */
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

const MAX_ERROR_DATA_DEPTH = 8;

/** Converts the data of an error. It has no schema, so every name is converted, and the depth is limited. */
export function encodeErrorData(value: unknown, depth = 0): unknown {
  if (depth > MAX_ERROR_DATA_DEPTH) return undefined;
  if (Array.isArray(value)) return value.map((item) => encodeErrorData(item, depth + 1));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [toSnake(name), encodeErrorData(item, depth + 1)]),
  );
}
