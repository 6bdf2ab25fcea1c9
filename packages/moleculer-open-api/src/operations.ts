import type { Answer, Content, Operation, OperationOverrides, Parameter } from "./document.ts";
import { isOptional, type JsonSchema } from "./json-schema.ts";
import { type AnyRule, type Props, propsOf, type RuleDefinition, rootRuleOf, ruleOf } from "./rule.ts";

/** A registered alias of moleculer-web, as far as documents read it. */
export interface GatewayAlias {
  method: string;
  fullPath: string;
  action: string | null;
  /** "call", "multipart" or "stream". */
  type: string;
  openapi?: Documented;
  route: GatewayRoute;
}

interface GatewayRoute {
  opts: {
    mergeParams?: boolean;
    authentication?: unknown;
    authorization?: unknown;
    bodyParsers?: unknown;
    openapi?: false;
  };
}

/** An action as the registry knows it. */
export interface GatewayAction {
  name: string;
  params?: unknown;
  openapi?: Documented;
}

/**
 * The key `openapi` of an action or an alias: properties of OpenAPI's operation object, and
 * - `returns`: what the action returns, as a rule;
 * or false, for an operation that the document leaves out.
 */
export type Documented = (OperationOverrides & { readonly returns?: RuleDefinition }) | false;

/** The methods of an alias that names none. Each can be called by all of them; these two are shown. */
const ANY_METHOD = ["GET", "POST"];
const WITH_BODY = ["POST", "PUT", "PATCH"];
const FORM = "application/x-www-form-urlencoded";

/**
 * The operations behind the aliases of a gateway.
 * @param actions those that can be called, by their names; an alias of another action is left out
 * @param security what a route with authentication or authorization asks for
 */
export function operationsOf(
  aliases: readonly GatewayAlias[],
  actions: ReadonlyMap<string, GatewayAction>,
  security: readonly object[] | undefined,
): Operation[] {
  return aliases.flatMap((alias) => {
    const action = alias.action === null ? undefined : actions.get(alias.action);
    if (alias.action !== null && !action) return [];
    const documented = alias.openapi ?? action?.openapi ?? {};
    if (documented === false || alias.route.opts.openapi === false) return [];
    const methods = alias.method === "*" ? ANY_METHOD : [alias.method];
    return methods.map((method) => operationOf({ alias, method, action, documented, security }));
  });
}

interface Source {
  alias: GatewayAlias;
  method: string;
  action: GatewayAction | undefined;
  documented: Exclude<Documented, false>;
  security: readonly object[] | undefined;
}

function operationOf({ alias, method, action, documented, security }: Source): Operation {
  const { opts } = alias.route;
  const { returns, ...overrides } = documented;
  const { path, names } = pathOf(alias.fullPath);
  const places = placesOf(action?.params, { names, method, merged: opts.mergeParams !== false });
  const content = WITH_BODY.includes(method) ? bodyContent(alias, places.body) : undefined;
  const isProtected = Boolean(opts.authentication || opts.authorization);
  return {
    method,
    path,
    tags: action ? [action.name.slice(0, action.name.lastIndexOf("."))] : [],
    summary: action?.name ?? `${method} ${path}`,
    ...(security && { security: isProtected ? security : [] }),
    parameters: places.parameters,
    ...(content && { body: { required: Object.values(propsOf(places.body)).some(isRequired), content } }),
    answers: answersOf(returns, action?.params !== undefined),
    overrides,
  };
}

/** `/posts/:id` is `/posts/{id}`. An optional part of a path is shown. */
function pathOf(pattern: string): { path: string; names: string[] } {
  const names: string[] = [];
  const path = pattern.replace(/[{}]/g, "").replace(/[:*](?:"([^"]+)"|(\w+))/g, (_, quoted, plain) => {
    names.push(quoted ?? plain);
    return `{${quoted ?? plain}}`;
  });
  return { path, names };
}

interface Places {
  parameters: Parameter[];
  body: AnyRule;
}

/** Where a request carries each parameter of the action. */
function placesOf(
  params: unknown,
  { names, method, merged }: { names: readonly string[]; method: string; merged: boolean },
): Places {
  const root = rootRuleOf(params);
  const all = propsOf(root);
  const inBody = WITH_BODY.includes(method);
  const of = (name: string): Props => propsOf(ruleOf(all[name] ?? { type: "object" }));
  const inPath = merged ? all : of("params");
  const rest = Object.fromEntries(Object.entries(all).filter(([name]) => !names.includes(name)));
  const query = merged ? (inBody ? {} : rest) : of("query");
  const body = merged
    ? { ...root, props: inBody ? rest : {} }
    : ruleOf((inBody && all.body) || { type: "object" });
  const shown = Object.entries(query).filter(([, rule]) => ruleOf(rule).type !== "forbidden");
  return {
    parameters: [
      ...names.map((name) => parameterOf("path", name, inPath[name] ?? "string")),
      ...shown.map(([name, rule]) => parameterOf("query", name, rule)),
    ],
    body,
  };
}

function parameterOf(place: "path" | "query", name: string, definition: RuleDefinition): Parameter {
  const { description } = ruleOf(definition);
  return {
    in: place,
    name,
    rule: definition,
    required: place === "path" || isRequired(definition),
    ...(typeof description === "string" && { description }),
  };
}

const isRequired = (definition: RuleDefinition) => !isOptional(definition);

function bodyContent({ type, route }: GatewayAlias, body: AnyRule): Content | undefined {
  if (type === "stream") return { "application/octet-stream": undefined };
  if (type === "multipart") return { "multipart/form-data": { schema: uploadSchema } };
  if (body.type === "object" && Object.keys(propsOf(body)).length === 0) return undefined;
  const parsers = route.opts.bodyParsers as { json?: unknown; urlencoded?: unknown } | undefined;
  const types = [
    ...(parsers?.json || !parsers?.urlencoded ? ["application/json"] : []),
    ...(parsers?.urlencoded ? [FORM] : []),
  ];
  return Object.fromEntries(types.map((one) => [one, body]));
}

const uploadSchema: JsonSchema = {
  type: "object",
  properties: { file: { type: "string", format: "binary" } },
  required: ["file"],
};

function answersOf(returns: RuleDefinition | undefined, hasParams: boolean): Answer[] {
  const done = { "application/json": returns === undefined ? undefined : ruleOf(returns) };
  return [
    { status: 200, description: "Done.", content: done },
    ...(hasParams ? [refusal(422, "The parameters are not valid.", "ValidationError")] : []),
    refusal("default", "The request failed.", "Error"),
  ];
}

function refusal(status: Answer["status"], description: string, shared: string): Answer {
  const schema = { $ref: "#/components/schemas/Error" };
  return { status, description, shared, content: { "application/json": { schema } } };
}

/** The error answer of moleculer-web. A gateway with an error handler of its own answers otherwise. */
export const errorSchema: JsonSchema = {
  type: "object",
  properties: {
    name: { type: "string" },
    message: { type: "string" },
    code: { type: "integer" },
    type: { type: ["string", "null"] },
    data: {},
  },
  required: ["name", "message", "code"],
};
