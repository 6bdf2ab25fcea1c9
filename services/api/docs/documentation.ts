import {
  type Answer,
  type Content,
  jsonSchemaOf,
  type MediaType,
  type Operation,
  openApiDocument,
  type Parameter,
  type Webhook,
} from "moleculer-open-api";
import { STANDARD_WEBHOOK_HEADERS } from "../../../contracts/banks.ts";
import { exampleOf, exampleOptions, schemaOptions } from "../../../contracts/documentation.ts";
import { type ErrorType, errorCatalogue } from "../../../contracts/errors.ts";
import { exportFile } from "../../../contracts/exports.ts";
import { IMAGE_TYPES } from "../../../contracts/media.ts";
import type { Rule } from "../../../contracts/schema.ts";
import { type PartnerWebhook, partnerWebhooks, partnerWebhookTexts } from "../../../contracts/webhooks.ts";
import { type RequestPart, wireRule } from "../pipeline/codec.ts";
import type { Endpoint } from "../pipeline/endpoint.ts";
import { IDEMPOTENCY_KEY, IF_MATCH } from "../pipeline/request.ts";
import { BASE_PATH } from "../routes/index.ts";
import type { Route } from "../routes/route.ts";
import { documentationRoutes } from "./pages.ts";
import { problemContent, problemSchema } from "./problem-schema.ts";
import { extensible, schemaNames } from "./schemas.ts";

const TITLE = "Waybill";
const VERSION = "1";
const LICENSE = { name: "Apache-2.0", identifier: "Apache-2.0" };

const DESCRIPTION = [
  "Orders from check to handover. Names are in snake_case, times in RFC 3339 UTC, money in minor units.",
  "Errors are problem documents (RFC 9457): branch on their `code`.",
  [
    "Before it is known which operation a request is for, it may be refused with 400 `bad_request`, 404 `not_found`,",
    "405 `method_not_allowed` with `Allow`, 408 `request_too_slow` or 431 `headers_too_large`.",
  ].join(" "),
  [
    "A field that a PATCH leaves out stays as it is; `null` clears it where it can be cleared, and elsewhere is the same",
    "as leaving the field out. A PATCH that changes nothing raises no version. `If-Match` is refused with 400 where no",
    "version is compared.",
  ].join(" "),
  "Sign in by `POST /sessions` and authorize with the access token to try an operation here.",
].join("\n\n");

const WEBHOOK_DESCRIPTION =
  "Sent to the partner's webhook by POST, signed by Standard Webhooks with the secret of `PUT /partners/{partner_id}/webhook`.";

/** Headers of every answer to a counted request, including refusals. */
const LIMIT_HEADERS = {
  RateLimit: "How much is left of each limit, and for how many seconds.",
  "RateLimit-Policy": "What each limit allows in how many seconds.",
};

/** Makes the OpenAPI document and its pages from the route tables. */
export function documentation(endpoints: readonly Endpoint[], publicUrl: string) {
  const docsUrl = `${publicUrl}/docs/errors`;
  const document = openApiDocument({
    ...schemaOptions,
    info: { title: TITLE, version: VERSION, description: DESCRIPTION, license: LICENSE },
    // Relative to the URL of the document.
    servers: [{ url: BASE_PATH }],
    operations: endpoints.map((endpoint) => operationOf(endpoint, docsUrl)),
    webhooks: (Object.keys(partnerWebhooks) as PartnerWebhook[]).map(webhookOf),
    ...{ names: schemaNames, extensible },
    schemas: { Problem: problemSchema },
    headers: LIMIT_HEADERS,
    securitySchemes: { bearer: { type: "http", scheme: "bearer", bearerFormat: "JWT" } },
    examples: exampleOptions,
  });
  const codes = (Object.keys(errorCatalogue) as ErrorType[]).map(codeOf);
  return { document, routes: documentationRoutes(document, TITLE, codes) };
}

function codeOf(type: ErrorType) {
  const { status, title } = errorCatalogue[type];
  return { code: type.toLowerCase(), status, title };
}

function operationOf(endpoint: Endpoint, docsUrl: string): Operation {
  const { route, body } = endpoint;
  return {
    method: route.method,
    path: route.path,
    tags: [route.tag],
    summary: route.summary,
    ...(route.description && { description: route.description }),
    security: route.access !== "public" && route.access !== "signed" ? [{ bearer: [] }] : [],
    parameters: parametersOf(endpoint),
    ...(body && {
      body: { required: !body.mayBeAbsent, content: bodyContent(body, route), example: body.example },
    }),
    answers: [...successOf(endpoint), ...problemsOf(endpoint, docsUrl)],
  };
}

function bodyContent({ kind, part }: NonNullable<Endpoint["body"]>, { reports }: Route): Content {
  if (kind === "image") return Object.fromEntries(IMAGE_TYPES.map((type) => [type, undefined]));
  return { "application/json": reports ? reportContent(reports) : part?.rule };
}

const schemaOf = (rule: Rule) => jsonSchemaOf(rule, { ...schemaOptions, names: schemaNames });

/** One of several bodies, which its field `type` tells apart, each with an example. */
function reportContent(reports: Readonly<Record<string, Rule>>): MediaType {
  const references = Object.entries(reports).map(([type, rule]) => [type, schemaOf(rule).$ref as string]);
  const examples = Object.entries(reports).map(([type, rule]) => [type, { value: eventExample(type, rule) }]);
  return {
    schema: {
      oneOf: [...new Set(references.map(([, $ref]) => $ref))].map(($ref) => ({ $ref })),
      discriminator: { propertyName: "type", mapping: Object.fromEntries(references) },
    },
    examples: Object.fromEntries(examples),
  };
}

/** The id differs from those of the other examples: each event has an id of its own. */
function eventExample(type: string, rule: Rule): object {
  const example = exampleOf(rule) as object;
  return { ...example, type, ...("id" in example && { id: `evt_${type.replaceAll(/\W/g, "_")}` }) };
}

function webhookOf(name: PartnerWebhook): Webhook {
  const body = partnerWebhooks[name];
  return {
    name,
    tags: ["Webhooks"],
    summary: partnerWebhookTexts[name],
    description: WEBHOOK_DESCRIPTION,
    parameters: STANDARD_WEBHOOK_HEADERS.map((header) => signatureHeader(header, true)),
    body: {
      "application/json": { schema: schemaOf(body), example: eventExample(name, body) },
    },
    answers: [
      { status: 204, description: "Received. Any other 2xx has the same effect." },
      {
        status: "default",
        description: "Not received: sent again, later. 410 disables the webhook; Retry-After is respected.",
      },
    ],
  };
}

const signatureDescriptions: Readonly<Record<string, string>> = {
  "webhook-id": "The id of the event, the same over all attempts.",
  "webhook-timestamp": "Seconds of Unix time at this attempt. A signature is valid for five minutes.",
  "webhook-signature":
    "`v1,` and the HMAC-SHA256 of `<webhook-id>.<webhook-timestamp>.<body>` in base64; several with spaces between them.",
  "stripe-signature": "`t=<seconds>,v1=<HMAC-SHA256 of <t>.<body> in hexadecimal>`.",
};
const signatureExamples: Readonly<Record<string, RegExp>> = {
  "webhook-timestamp": /^[1-9][0-9]{0,11}$/,
};

function signatureHeader(name: string, required: boolean): Parameter {
  const pattern = signatureExamples[name];
  const rule = { type: "string", ...(pattern && { pattern }) } as Rule;
  return { in: "header", name, rule, required, description: signatureDescriptions[name] as string };
}

function parametersOf(endpoint: Endpoint): Parameter[] {
  const { idempotencyKey, versioned, route } = endpoint;
  return [
    ...parametersIn("path", endpoint.path),
    ...parametersIn("query", endpoint.query),
    ...(idempotencyKey === "never" ? [] : [keyParameter(idempotencyKey === "required")]),
    ...(versioned ? [ifMatch] : []),
    ...(route.content === "events" ? [lastEventId] : []),
    ...(route.signedBy ?? []).map((header) => signatureHeader(header, false)),
  ];
}

/** Descriptions of list parameters. Other parameters explain themselves by their names. */
const queryDescriptions: Record<string, string> = {
  cursor: "The `next_cursor` of the page before; left out, the list begins.",
  limit: "How many a page holds at most.",
  q: "Words, or beginnings of words, of a product's name and description, or of a person's name, address and phone number.",
  status: "Only orders in this state.",
  statuses: "Only orders in these states, with commas between them.",
  from: "Only orders that were confirmed at this time or later.",
  to: "Only orders that were confirmed before this time.",
};

function parametersIn(place: "path" | "query", { rule }: RequestPart): Parameter[] {
  return Object.entries(rule.props).map(([name, field]) => ({
    in: place,
    name,
    rule: field,
    required: place === "path" || !field.optional,
    ...(place === "query" && queryDescriptions[name] && { description: queryDescriptions[name] }),
  }));
}

const keyParameter = (required: boolean): Parameter => ({
  in: "header",
  name: "Idempotency-Key",
  rule: { type: "string", pattern: IDEMPOTENCY_KEY } as Rule,
  required,
  description: "Repeats with the same key and body get the first answer; kept for 24 hours.",
});

const ifMatch: Parameter = {
  in: "header",
  name: "If-Match",
  rule: { type: "string", pattern: IF_MATCH } as Rule,
  required: false,
  description: "The ETag of the version that is to be changed; another one is refused with 412.",
};

const lastEventId: Parameter = {
  in: "header",
  name: "Last-Event-ID",
  rule: { type: "string" },
  required: false,
  description: "The id of the last event that was seen; what is no such id counts as none.",
};

function successOf({ route, answer, statuses }: Endpoint): Answer[] {
  const headers: Record<string, string> = {
    ...(statuses.includes(304) && {
      ETag: "For If-None-Match, and for If-Match where a version is changed.",
    }),
    ...(route.location && { Location: "Where the new resource is." }),
  };
  const done: Answer = { status: route.success, description: "Done.", headers };
  // The actual media type comes first, because client generators use the first one.
  if (route.content === "image") done.content = { "image/webp": undefined, "image/*": undefined };
  else if (route.content === "csv") done.content = { "text/csv": undefined };
  else if (route.content === "file") done.content = { "application/json": wireRule(exportFile) };
  else if (route.events) done.events = wireRules(route.events);
  else if (route.success !== 204 && hasFields(answer)) done.content = { "application/json": answer };
  return statuses.includes(304) ? [done, { status: 304, description: "Unchanged." }] : [done];
}

function hasFields({ props = {} }: Rule & { props?: object }): boolean {
  return Object.keys(props).length > 0;
}

function wireRules(rules: Readonly<Record<string, Rule>>): Record<string, Rule> {
  return Object.fromEntries(Object.entries(rules).map(([name, rule]) => [name, wireRule(rule)]));
}

/** Most operations share most problems: `shared` names each set of codes, so that the document holds it once. */
function problemsOf({ problems, route }: Endpoint, docsUrl: string): Answer[] {
  return [...problems].map(([status, types]) => {
    const codes = types.map(codeOf);
    const isUniform = route.access === "signed" && status === 401;
    return {
      status,
      description: types.map((type) => errorCatalogue[type].title).join("; or: "),
      shared: codes.map(({ code }) => code).join("-"),
      content: { "application/problem+json": problemContent(codes, { docsUrl, isUniform }) },
      headers: {
        ...(status === 401 && { "WWW-Authenticate": "How to authenticate." }),
        ...((status === 429 || status === 503) && { "Retry-After": "Seconds to wait." }),
      },
    };
  });
}
