import { type ExampleOptions, exampleOf } from "./example.ts";
import { componentsOf, type JsonSchema, jsonSchemaOf, type SchemaOptions } from "./json-schema.ts";
import type { Rule, RuleDefinition } from "./rule.ts";

export interface Parameter {
  in: "path" | "query" | "header";
  name: string;
  rule: RuleDefinition;
  required: boolean;
  description?: string;
}

/** A media type as OpenAPI writes it, for content that no rule describes. */
export interface MediaType {
  schema: JsonSchema;
  example?: unknown;
  examples?: Record<string, { value: unknown }>;
}

/** Media types with the rule of what they hold; a media type without a rule holds bytes. */
export type Content = Readonly<Record<string, Rule | MediaType | undefined>>;

export interface Answer {
  status: number | "default";
  description: string;
  content?: Content;
  /** The data of server-sent events by their names, where the answer is a stream of them. */
  events?: Readonly<Record<string, RuleDefinition>>;
  headers?: Record<string, string>;
  /** Answers of one name stand in the document once, below its components. */
  shared?: string;
}

/** One operation of an API. */
export interface Operation {
  method: string;
  /** With its parameters in braces: `/posts/{id}`. */
  path: string;
  tags: readonly string[];
  summary: string;
  description?: string;
  /** The security schemes that it accepts. An empty list makes it public. Default: those of the document. */
  security?: readonly object[];
  parameters: readonly Parameter[];
  /** @property example of JSON, where the one that is made from the rule would not be true */
  body?: { content: Content; required: boolean; example?: unknown };
  answers: readonly Answer[];
  /** Properties of OpenAPI's operation object that replace or complete the generated ones. */
  overrides?: OperationOverrides;
}

/** A request that the API sends to its users, by POST. */
export interface Webhook extends Pick<Operation, "tags" | "summary" | "description" | "answers"> {
  /** Unique in the document, such as the type of the event. */
  name: string;
  /** The headers of the request. */
  parameters?: readonly Parameter[];
  body: Content;
}

export interface OperationOverrides {
  readonly [property: string]: unknown;
  readonly summary?: string;
  readonly description?: string;
  readonly tags?: readonly string[];
  readonly deprecated?: boolean;
  readonly security?: readonly object[];
  readonly responses?: Readonly<Record<string, JsonSchema>>;
}

export interface Info {
  readonly [property: string]: unknown;
  readonly title: string;
  readonly version: string;
  readonly description?: string;
}

export interface DocumentOptions extends SchemaOptions {
  info: Info;
  servers?: readonly { url: string; description?: string }[];
  operations: readonly Operation[];
  webhooks?: readonly Webhook[];
  /** Descriptions of tags. Tags of operations that are not here follow without one. */
  tags?: readonly { name: string; description?: string }[];
  /** Schemas that no rule describes, by their names. */
  schemas?: Readonly<Record<string, JsonSchema>>;
  /** Headers that every answer of every operation may carry, with their descriptions. */
  headers?: Readonly<Record<string, string>>;
  securitySchemes?: Readonly<Record<string, object>>;
  examples?: ExampleOptions;
}

/** The OpenAPI 3.1 document of these operations. Examples are made from the rules, so no example can break its rule. */
export function openApiDocument(options: DocumentOptions): JsonSchema {
  const { info, servers, operations, webhooks = [], tags = [], schemas, headers, securitySchemes } = options;
  const responses: Record<string, JsonSchema> = {};
  const paths: Record<string, Record<string, unknown>> = {};
  for (const operation of operations) {
    const path = paths[operation.path] ?? {};
    path[operation.method.toLowerCase()] = operationOf(operation, options, responses);
    paths[operation.path] = path;
  }
  const described = tags.map(({ name }) => name);
  const others = new Set(
    [
      ...operations.map(({ overrides, tags }) => overrides?.tags ?? tags),
      ...webhooks.map(({ tags }) => tags),
    ].flat(),
  );
  return {
    openapi: "3.1.0",
    info,
    ...(servers && { servers }),
    tags: [...tags, ...[...others].filter((tag) => !described.includes(tag)).map((name) => ({ name }))],
    paths,
    ...(webhooks.length > 0 && {
      webhooks: Object.fromEntries(
        webhooks.map((webhook) => [webhook.name, webhookOf(webhook, options, responses)]),
      ),
    }),
    components: {
      schemas: { ...componentsOf(options), ...schemas },
      responses,
      ...(headers && { headers: headersOf(headers) }),
      ...(securitySchemes && { securitySchemes }),
    },
  };
}

function operationOf(
  operation: Operation,
  options: DocumentOptions,
  shared: Record<string, JsonSchema>,
): JsonSchema {
  const { method, path, tags, summary, description, security, parameters, body, answers } = operation;
  const { responses: ownResponses, ...overrides } = operation.overrides ?? {};
  const responses = answers.map((answer) => [answer.status, sharedAnswer(answer, options, shared)]);
  return {
    operationId: operationIdOf(method, path),
    tags,
    summary,
    ...(description && { description }),
    ...(security && { security }),
    ...(parameters.length > 0 && { parameters: parameters.map((one) => parameterOf(one, options)) }),
    ...(body && {
      requestBody: { required: body.required, content: contentOf(body.content, options, body.example) },
    }),
    responses: { ...Object.fromEntries(responses), ...ownResponses },
    ...overrides,
  };
}

/** The headers that the answers of the API may carry are no headers of the receiver's answers. */
function webhookOf(
  { name, body, parameters = [], ...webhook }: Webhook,
  { headers: _, ...options }: DocumentOptions,
  shared: Record<string, JsonSchema>,
): JsonSchema {
  const operation = {
    ...webhook,
    method: "on",
    path: name,
    parameters,
    body: { content: body, required: true },
  };
  return { post: operationOf(operation, options, shared) };
}

/** `POST /orders/{order_id}/cancel` is `postOrdersOrderIdCancel`. */
export function operationIdOf(method: string, path: string): string {
  const words = path.split(/[^A-Za-z0-9]+/).filter(Boolean);
  return method.toLowerCase() + words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join("");
}

function parameterOf(
  { in: place, name, rule, required, description }: Parameter,
  options: DocumentOptions,
): JsonSchema {
  // Swagger UI sends the example of every parameter that it shows, also of one that may be left out.
  const example = required ? exampleOf(rule, options.examples, name) : undefined;
  return {
    in: place,
    name,
    required,
    ...(description && { description }),
    schema: jsonSchemaOf(rule, options),
    ...(example !== undefined && { example }),
  };
}

/** As OpenAPI 3.0 says it, which generators of clients know and 3.1 allows. */
const BYTES = { type: "string", format: "binary" } as const;

function contentOf(content: Content, options: DocumentOptions, example?: unknown): JsonSchema {
  const entries = Object.entries(content).map(([type, of]) => {
    if (!of) return [type, { schema: type.includes("json") ? {} : BYTES }];
    if ("schema" in of) return [type, of];
    return [type, { schema: jsonSchemaOf(of, options), example: example ?? exampleOf(of, options.examples) }];
  });
  return Object.fromEntries(entries);
}

/** A stream as the text that it is, whose content is a list of events whose data is JSON. */
function streamContent(
  events: Readonly<Record<string, RuleDefinition>>,
  options: DocumentOptions,
): JsonSchema {
  const items = Object.entries(events).map(([event, rule]) => ({
    type: "object",
    properties: {
      event: { const: event },
      id: { type: "string", description: "For Last-Event-ID." },
      data: {
        type: "string",
        contentMediaType: "application/json",
        contentSchema: jsonSchemaOf(rule, options),
      },
    },
    required: ["event", "data"],
  }));
  const contentSchema = { type: "array", items: { oneOf: items } };
  const example = Object.entries(events)
    .map(([event, rule]) => `event: ${event}\ndata: ${JSON.stringify(exampleOf(rule, options.examples))}\n\n`)
    .join("");
  return {
    "text/event-stream": {
      schema: { type: "string", contentMediaType: "text/event-stream", contentSchema },
      example,
    },
  };
}

function sharedAnswer(
  answer: Answer,
  options: DocumentOptions,
  shared: Record<string, JsonSchema>,
): JsonSchema {
  if (answer.shared === undefined) return answerOf(answer, options);
  shared[answer.shared] ??= answerOf(answer, options);
  return { $ref: `#/components/responses/${answer.shared}` };
}

function headersOf(descriptions: Readonly<Record<string, string>>): JsonSchema {
  const headers = Object.entries(descriptions).map(([name, description]) => [
    name,
    { description, schema: { type: "string" } },
  ]);
  return Object.fromEntries(headers);
}

function answerOf(answer: Answer, options: DocumentOptions): JsonSchema {
  const names = Object.keys(options.headers ?? {});
  const references = names.map((name) => [name, { $ref: `#/components/headers/${name}` }]);
  const headers = { ...headersOf(answer.headers ?? {}), ...Object.fromEntries(references) };
  const content = answer.events
    ? streamContent(answer.events, options)
    : answer.content && contentOf(answer.content, options);
  return {
    description: answer.description,
    ...(Object.keys(headers).length > 0 && { headers }),
    ...(content && { content }),
  };
}
