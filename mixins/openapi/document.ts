import type { Rule } from "../../contracts/schema.ts";
import { exampleOf } from "./example.ts";
import { componentsOf, type JsonSchema, jsonSchemaOf, type SchemaNames } from "./json-schema.ts";

export interface Parameter {
  in: "path" | "query" | "header";
  name: string;
  rule: Rule;
  required: boolean;
  description?: string;
}

export interface ProblemCode {
  code: string;
  title: string;
}

export interface Answer {
  status: number;
  description: string;
  /** Media types and what they hold; a media type without a rule holds bytes. */
  content?: Record<string, Rule | undefined>;
  /** The data of server-sent events by their names, where the answer is a stream of them. */
  events?: Record<string, Rule>;
  /** The codes that a problem document of this status may carry. */
  problems?: readonly ProblemCode[];
  /** Of such a problem nobody learns which occurrence it was. */
  sealed?: boolean;
  headers?: Record<string, string>;
}

/** One operation, in whatever words its owner describes it. */
export interface Operation {
  method: string;
  path: string;
  tag: string;
  summary: string;
  description?: string;
  /** Whether an access token is needed. */
  secured: boolean;
  parameters: readonly Parameter[];
  /** @property example of JSON, where the one that is made from the schema would not be true */
  body?: { content: Record<string, Rule | undefined>; required: boolean; example?: unknown };
  answers: readonly Answer[];
}

export interface DocumentOptions {
  title: string;
  version: string;
  description: string;
  /** Relative to where the document is served. */
  basePath: string;
  operations: readonly Operation[];
  names: SchemaNames;
  /** Headers that every answer of every operation may carry, with what they say. */
  headers: Record<string, string>;
  /** Where the codes are explained. */
  docsUrl: string;
}

/** The OpenAPI 3.1 document of these operations. Examples are made from the schemas, so none can be wrong. */
export function openApiDocument(options: DocumentOptions): JsonSchema {
  const { operations, names } = options;
  const responses: Record<string, JsonSchema> = {};
  const paths: Record<string, Record<string, unknown>> = {};
  for (const operation of operations) {
    const path = paths[operation.path] ?? {};
    path[operation.method.toLowerCase()] = operationOf(operation, options, responses);
    paths[operation.path] = path;
  }
  return {
    openapi: "3.1.0",
    info: {
      title: options.title,
      version: options.version,
      description: options.description,
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: options.basePath }],
    tags: [...new Set(operations.map(({ tag }) => tag))].map((name) => ({ name })),
    paths,
    components: {
      schemas: { ...componentsOf(names), Problem: problemSchema },
      responses,
      headers: headersOf(options.headers),
      securitySchemes: { bearer: { type: "http", scheme: "bearer", bearerFormat: "JWT" } },
    },
  };
}

function operationOf(
  operation: Operation,
  options: DocumentOptions,
  shared: Record<string, JsonSchema>,
): JsonSchema {
  const { method, path, tag, summary, description, secured, parameters, body, answers } = operation;
  const { names } = options;
  return {
    operationId: operationIdOf(method, path),
    tags: [tag],
    summary,
    ...(description && { description }),
    security: secured ? [{ bearer: [] }] : [],
    ...(parameters.length > 0 && { parameters: parameters.map((one) => parameterOf(one, names)) }),
    ...(body && {
      requestBody: { required: body.required, content: contentOf(body.content, names, body.example) },
    }),
    responses: Object.fromEntries(
      answers.map((answer) => [answer.status, sharedAnswer(answer, options, shared)]),
    ),
  };
}

/** `POST /orders/{order_id}/cancel` is `postOrdersOrderIdCancel`. */
export function operationIdOf(method: string, path: string): string {
  const words = path.split(/[^A-Za-z0-9]+/).filter(Boolean);
  return method.toLowerCase() + words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join("");
}

function parameterOf(
  { in: place, name, rule, required, description }: Parameter,
  names: SchemaNames,
): JsonSchema {
  return {
    in: place,
    name,
    required,
    ...(description && { description }),
    schema: jsonSchemaOf(rule, names),
    // An example of a parameter that may be left out would be sent by whoever tries the operation.
    ...(required && { example: exampleOf(rule, name) }),
  };
}

function contentOf(
  content: Record<string, Rule | undefined>,
  names: SchemaNames,
  example?: unknown,
): JsonSchema {
  const entries = Object.entries(content).map(([type, rule]) => [
    type,
    rule
      ? { schema: jsonSchemaOf(rule, names), example: example ?? exampleOf(rule) }
      : { schema: type.includes("json") ? {} : BYTES },
  ]);
  return Object.fromEntries(entries);
}

/** As OpenAPI 3.0 says it, which generators of clients know and 3.1 allows. */
const BYTES = { type: "string", format: "binary" } as const;

/** A stream as the text that it is, whose content is a list of events whose data is JSON. */
function streamContent(events: Record<string, Rule>, names: SchemaNames): JsonSchema {
  const items = Object.entries(events).map(([event, rule]) => ({
    type: "object",
    properties: {
      event: { const: event },
      id: { type: "string", description: "For Last-Event-ID." },
      data: {
        type: "string",
        contentMediaType: "application/json",
        contentSchema: jsonSchemaOf(rule, names),
      },
    },
    required: ["event", "data"],
  }));
  const contentSchema = { type: "array", items: { oneOf: items } };
  const example = Object.entries(events)
    .map(([event, rule]) => `event: ${event}\ndata: ${JSON.stringify(exampleOf(rule))}\n\n`)
    .join("");
  return {
    "text/event-stream": {
      schema: { type: "string", contentMediaType: "text/event-stream", contentSchema },
      example,
    },
  };
}

/** Most operations have most problems in common: each set of codes stands in the document once. */
function sharedAnswer(
  answer: Answer,
  options: DocumentOptions,
  shared: Record<string, JsonSchema>,
): JsonSchema {
  if (!answer.problems) return answerOf(answer, options);
  const name = answer.problems.map(({ code }) => code).join("-");
  shared[name] ??= answerOf(answer, options);
  return { $ref: `#/components/responses/${name}` };
}

/** What stands on every answer stands in the document once. */
function headersOf(described: Record<string, string>): JsonSchema {
  const headers = Object.entries(described).map(([name, description]) => [
    name,
    { description, schema: { type: "string" } },
  ]);
  return Object.fromEntries(headers);
}

function answerOf(answer: Answer, options: DocumentOptions): JsonSchema {
  const shared = Object.keys(options.headers).map((name) => [name, { $ref: `#/components/headers/${name}` }]);
  const headers = { ...headersOf(answer.headers ?? {}), ...Object.fromEntries(shared) };
  const content = answer.problems
    ? { "application/problem+json": problemContent(answer, answer.problems, options.docsUrl) }
    : answer.events
      ? streamContent(answer.events, options.names)
      : answer.content && contentOf(answer.content, options.names);
  return {
    description: answer.description,
    ...(Object.keys(headers).length > 0 && { headers }),
    ...(content && { content }),
  };
}

function problemContent(
  { status, sealed }: Answer,
  problems: readonly ProblemCode[],
  docsUrl: string,
): JsonSchema {
  const codes = problems.map(({ code }) => code);
  const examples = problems.map(({ code, title }) => [
    code,
    {
      value: {
        type: `${docsUrl}#${code}`,
        title,
        status,
        ...(!sealed && occurrence),
        code,
        ...(code === "validation_error" && wrongField),
      },
    },
  ]);
  return {
    schema: {
      allOf: [
        { $ref: "#/components/schemas/Problem" },
        { properties: { code: { enum: codes } }, ...(!sealed && { required: Object.keys(occurrence) }) },
      ],
    },
    examples: Object.fromEntries(examples),
  };
}

/** Which one it was, for whoever asks us about it. */
const occurrence = {
  instance: "urn:waybill:request:0198c0de-7f31-7a10-9d2e-0b7c5d1e2f30",
  trace_id: "4bf92f3577b34da6a3ce929d0e0e4736",
};

const wrongField = {
  errors: [{ field: "quantity", rule: "numberMax", message: "Must be 99 or less." }],
};

/** RFC 9457, with our members. */
const problemSchema: JsonSchema = {
  type: "object",
  properties: {
    type: { type: "string", description: "Where the code is explained." },
    title: { type: "string" },
    status: { type: "integer" },
    detail: { type: "string", description: "What happened this time, and what to do next." },
    instance: { type: "string", description: "This one occurrence." },
    code: { type: "string", description: "Stable; programs branch on it." },
    errors: {
      type: "array",
      items: {
        type: "object",
        properties: { field: { type: "string" }, rule: { type: "string" }, message: { type: "string" } },
        required: ["field", "rule", "message"],
        additionalProperties: false,
      },
    },
    data: { type: "object", description: "Facts for the caller's program." },
    trace_id: { type: "string" },
  },
  required: ["type", "title", "status", "code"],
  additionalProperties: false,
};
