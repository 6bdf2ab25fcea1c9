/** A rule of fastest-validator in its long form, as far as documents read it. */
export interface Rule {
  readonly type: string;
  readonly optional?: boolean;
  readonly nullable?: boolean;
}

/** The fields of an object. Each is a rule in any of the forms that fastest-validator takes. */
export interface Props {
  readonly [name: string]: RuleDefinition;
}

/** A rule, its short form (`"string|min:3"`) or a list of alternatives. */
export type RuleDefinition =
  | Rule
  | AnyRule
  | string
  | readonly RuleDefinition[]
  | { readonly $$type: string; readonly [field: string]: unknown };

/** A rule with the properties of every type. */
export interface AnyRule extends Rule {
  readonly [property: string]: unknown;
  readonly props?: Props;
  readonly properties?: Props;
  readonly items?: RuleDefinition | readonly RuleDefinition[];
  readonly key?: RuleDefinition;
  readonly value?: unknown;
  readonly values?: readonly unknown[];
  readonly enum?: readonly unknown[];
  readonly rules?: readonly RuleDefinition[];
  readonly pattern?: RegExp | string;
  readonly min?: number;
  readonly max?: number;
  readonly length?: number;
  readonly integer?: boolean;
  readonly trim?: boolean;
  readonly empty?: boolean;
  readonly strict?: boolean | "remove";
}

/** A rule in its long form. A rule that has this form already is returned as it is. */
export function ruleOf(definition: unknown): AnyRule {
  if (typeof definition === "string") return shortForm(definition);
  if (Array.isArray(definition)) {
    const rules = definition as RuleDefinition[];
    const every = (flag: "optional" | "nullable") => rules.every((rule) => ruleOf(rule)[flag] === true);
    return { type: "multi", rules, optional: every("optional"), nullable: every("nullable") };
  }
  if (typeof definition !== "object" || definition === null) return { type: "any" };
  const { $$type, ...props } = definition as { $$type?: string };
  if ($$type !== undefined) return { ...shortForm($$type), props: props as Props };
  const rule = definition as AnyRule;
  if (typeof rule.type !== "string") return { ...rule, type: "any" };
  return rule.type.endsWith("[]") ? { ...rule, ...shortForm(rule.type) } : rule;
}

/** The `params` of an action as one rule: an object, unless they say `$$root`. */
export function rootRuleOf(params: unknown): AnyRule {
  if (Array.isArray(params) || typeof params !== "object" || params === null) return ruleOf(params ?? {});
  const { $$root, $$strict, $$async, ...props } = params as Record<string, unknown>;
  if ($$root === true) return ruleOf(props);
  return {
    type: "object",
    props: props as Props,
    ...($$strict !== undefined && { strict: $$strict as boolean }),
  };
}

/** The fields of an object's rule. */
export function propsOf({ props, properties }: AnyRule): Props {
  return props ?? properties ?? {};
}

/** `"string|min:3|no-empty|optional"`; `"number[]"` is a list of numbers. */
function shortForm(text: string): AnyRule {
  const [type = "any", ...flags] = text.split("|").map((part) => part.trim());
  const head = type.endsWith("[]") ? { type: "array", items: type.slice(0, -"[]".length) } : { type };
  return Object.assign(head, ...flags.map(flagOf));
}

function flagOf(flag: string): Record<string, unknown> {
  const colon = flag.indexOf(":");
  if (colon < 0) return flag.startsWith("no-") ? { [flag.slice("no-".length)]: false } : { [flag]: true };
  return { [flag.slice(0, colon).trim()]: flagValue(flag.slice(colon + 1).trim()) };
}

function flagValue(text: string): unknown {
  if (text === "true" || text === "false") return text === "true";
  return text === "" || Number.isNaN(Number(text)) ? text : Number(text);
}
