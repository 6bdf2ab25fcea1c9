import { readFileSync } from "node:fs";
import { describe, expect, it } from "@jest/globals";
import { Validator } from "@seriousme/openapi-schema-validator";
import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { actions } from "../../contracts/actions.ts";
import { exampleOf } from "../../contracts/documentation.ts";
import { type Message, messages } from "../../contracts/messages.ts";
import type { Rule } from "../../contracts/schema.ts";
import { validatorOf } from "../../contracts/validation.ts";
import { bankReports, partnerCallbackBody, stripeReportTypes } from "../../contracts/webhooks.ts";
import { newId } from "../../lib/ids.ts";
import { newSecret, signedHeaders } from "../../lib/webhook-signature.ts";
import { openBank } from "../../providers/banks/index.ts";
import { documentation } from "../../services/api/docs/documentation.ts";
import { endpointOf } from "../../services/api/pipeline/endpoint.ts";
import { BASE_PATH, routes } from "../../services/api/routes/index.ts";
import {
  bodyToSend,
  informationBody,
  preparationBody,
  testBody,
  type WebhookEvent,
  webhookUrgencies,
} from "../../services/partners/domain/webhook-events.ts";

interface Media {
  schema: object;
  example?: unknown;
  examples?: Record<string, { value: unknown }>;
}
interface Operation {
  operationId: string;
  requestBody?: { content: Record<string, Media> };
  responses: Record<string, { $ref?: string; content?: Record<string, Media>; headers?: object }>;
  security: object[];
}
interface Document {
  servers: { url: string }[];
  paths: Record<string, Record<string, Operation>>;
  webhooks: Record<string, Record<string, Operation>>;
  components: {
    schemas: Record<string, object>;
    responses: Record<string, { content: Record<string, Media>; headers?: object }>;
    headers: Record<string, object>;
  };
}

const endpoints = routes.map(endpointOf);
const document = documentation(endpoints, "https://delivery.example.org").document as unknown as Document;
const operations = Object.values(document.paths).flatMap((path) => Object.values(path));
const webhooks = Object.values(document.webhooks).flatMap((path) => Object.values(path));

describe("OpenAPI document", () => {
  it("is valid OpenAPI 3.1", async () => {
    const { valid, errors } = await new Validator().validate(structuredClone(document) as never);
    expect({ valid, errors }).toEqual({ valid: true, errors: undefined });
  });

  it("has every operation of the tables with every status", () => {
    for (const { route, statuses } of endpoints) {
      const operation = document.paths[route.path]?.[route.method.toLowerCase()];
      expect(Object.keys(operation?.responses ?? {}).map(Number)).toEqual(statuses);
      expect(operation?.security).toEqual(
        route.access === "public" || route.access === "signed" ? [] : [{ bearer: [] }],
      );
    }
    expect(operations).toHaveLength(endpoints.length);
    expect(new Set(operations.map(({ operationId }) => operationId)).size).toBe(endpoints.length);
    expect(document.servers).toEqual([{ url: BASE_PATH }]);
  });

  it("declares Location where something is made, and ETag where an answer may be unchanged", () => {
    for (const { route, statuses } of endpoints) {
      const operation = document.paths[route.path]?.[route.method.toLowerCase()];
      const headers = Object.keys(operation?.responses[route.success]?.headers ?? {});
      expect([route.path, headers.includes("Location")]).toEqual([route.path, route.location !== undefined]);
      const isRevalidated =
        route.method === "GET" && !["events", "csv", "file"].includes(route.content ?? "");
      expect([route.path, statuses.includes(304)]).toEqual([route.path, isRevalidated]);
      expect([route.path, headers.includes("ETag")]).toEqual([route.path, isRevalidated]);
      const unchanged = operation?.responses["304"] as { description?: string } | undefined;
      expect(unchanged?.description).toBe(statuses.includes(304) ? "Unchanged." : undefined);
    }
  });

  it("declares Retry-After where an answer asks to wait, and WWW-Authenticate where it asks for a token", () => {
    const declaring = (name: string) =>
      new Set(
        operations.flatMap(({ responses }) =>
          Object.entries(responses).flatMap(([status, answer]) => {
            const shared = document.components.responses[answer.$ref?.split("/").at(-1) ?? ""];
            return name in ((shared ?? answer).headers ?? {}) ? [status] : [];
          }),
        ),
      );
    expect(declaring("Retry-After")).toEqual(new Set(["429", "503"]));
    expect(declaring("WWW-Authenticate")).toEqual(new Set(["401"]));
    for (const { responses } of operations) {
      const success = Object.keys(responses).find((status) => status.startsWith("2")) ?? "";
      expect("ETag" in (responses[success]?.headers ?? {})).toBe("304" in responses);
    }
  });

  it("declares the headers of the limits for every answer, and describes them once", () => {
    const { responses: shared, headers: described } = document.components;
    const limits = {
      RateLimit: { $ref: "#/components/headers/RateLimit" },
      "RateLimit-Policy": { $ref: "#/components/headers/RateLimit-Policy" },
    };
    expect(Object.keys(described)).toEqual(Object.keys(limits));
    for (const { responses } of operations) {
      for (const answer of Object.values(responses)) {
        const { headers } = answer.$ref ? (shared[answer.$ref.split("/").at(-1) as string] ?? {}) : answer;
        expect(headers).toMatchObject(limits);
      }
    }
  });

  it("has no example that its own schema or the contract's validator refuses", () => {
    const ajv = new Ajv2020({ strict: false });
    (addFormats as unknown as (ajv: Ajv2020) => void)(ajv);
    ajv.addSchema({ $id: "doc", components: document.components });
    const accepts = ({ schema, example, examples }: Media) => {
      const validate = ajv.compile(JSON.parse(JSON.stringify(schema).replaceAll('"#/', '"doc#/')));
      const values = [
        ...(example === undefined ? [] : [example]),
        ...Object.values(examples ?? {}).map(({ value }) => value),
      ];
      return values.filter((value) => !validate(value)).map((value) => ({ value, errors: validate.errors }));
    };
    const media = [
      ...[...operations, ...webhooks].flatMap(({ requestBody, responses }) => [
        ...Object.values(requestBody?.content ?? {}),
        ...Object.values(responses).flatMap(({ content }) => Object.values(content ?? {})),
      ]),
      ...Object.values(document.components.responses).flatMap(({ content }) => Object.values(content)),
    ];
    expect(media.flatMap(accepts)).toEqual([]);
    const rules: Rule[] = [
      ...Object.values(actions).flatMap(({ params, result }): Rule[] => [params, result]),
      ...Object.values(messages),
    ];
    for (const rule of rules) expect(validatorOf(rule)(exampleOf(rule))).toEqual([]);
  });

  it("has neither broken references nor unused components", () => {
    const text = JSON.stringify(document);
    const referred = new Set(
      [...text.matchAll(/"#\/components\/(schemas|responses)\/([^"]+)"/g)].map(
        ([, kind, name]) => `${kind}/${name}`,
      ),
    );
    const there = [
      ...Object.keys(document.components.schemas).map((name) => `schemas/${name}`),
      ...Object.keys(document.components.responses).map((name) => `responses/${name}`),
    ];
    expect([...referred].toSorted()).toEqual(there.toSorted());
  });

  it("describes texts by patterns that every dialect of regular expressions reads", () => {
    const patterns = [...JSON.stringify(document).matchAll(/"pattern":("(?:[^"\\]|\\.)*")/g)].map(
      ([, quoted]) => JSON.parse(quoted as string),
    );
    expect(patterns.length).toBeGreaterThan(100);
    // NUL as \0, properties and code points of Unicode, and looking around are not in all of them.
    expect(patterns.filter((pattern) => /\\[0-7puU]|\(\?[<=!]/.test(pattern))).toEqual([]);
    for (const flags of ["", "u"]) for (const pattern of patterns) new RegExp(pattern, flags);
  });

  it("describes images as bytes, the answered type first, and the events of a stream", () => {
    const at = (path: string, method: string) =>
      document.paths[path]?.[method] as unknown as {
        requestBody: { content: Record<string, { schema: object }> };
        responses: Record<string, { content: Record<string, { schema: Record<string, unknown> }> }>;
      };
    const bytes = { schema: { type: "string", format: "binary" } };
    for (const path of ["/me/avatar", "/orders/{order_id}/proof"]) {
      expect(at(path, "put").requestBody.content).toEqual({
        "image/png": bytes,
        "image/jpeg": bytes,
        "image/webp": bytes,
      });
      expect(Object.entries(at(path, "get").responses["200"]?.content ?? {})[0]).toEqual([
        "image/webp",
        bytes,
      ]);
    }
    const stream = at("/orders/{order_id}/events", "get").responses["200"]?.content["text/event-stream"];
    expect(stream?.schema).toMatchObject({ type: "string", contentMediaType: "text/event-stream" });
    expect(JSON.stringify(stream)).toContain("#/components/schemas/OrderEvent");
    expect(JSON.stringify(stream)).toContain("#/components/schemas/OrderPosition");
  });

  it("spells every name in snake_case", () => {
    const names = [...JSON.stringify(document.components.schemas).matchAll(/"properties":\{([^{}]*)/g)];
    expect(names.length).toBeGreaterThan(10);
    const properties = Object.values(document.components.schemas).flatMap((schema) =>
      Object.keys((schema as { properties?: object }).properties ?? {}),
    );
    expect(properties.filter((name) => !/^[a-z][a-z0-9_]*$/.test(name))).toEqual([]);
  });
});

describe("the contract of partners' systems and payment systems in the OpenAPI document", () => {
  const ajv = new Ajv2020({ strict: false, discriminator: false });
  (addFormats as unknown as (ajv: Ajv2020) => void)(ajv);
  // Later releases may add fields; what this one sends has to be described.
  const components = JSON.parse(JSON.stringify(document.components), (_, value) =>
    value?.type === "object" && value.properties ? { additionalProperties: false, ...value } : value,
  );
  ajv.addSchema({ $id: "doc", components });
  const bodyOf = (operation: Operation | undefined) =>
    (operation?.requestBody?.content["application/json"] ?? {}) as Media;
  const errorsOf = ({ schema }: Media, value: unknown) => {
    const validate = ajv.compile(JSON.parse(JSON.stringify(schema).replaceAll('"#/', '"doc#/')));
    return validate(value) ? [] : validate.errors;
  };
  const example = exampleOf(messages["order.paid"]) as Message<"order.paid">["data"];
  const paid: typeof example = { ...example, number: "K7-042" };
  const message = (type: string, data = paid) =>
    ({ id: newId(), type, time: "2026-11-22T10:30:00Z", data }) as Message<"order.paid">;

  it("has a webhook for every event that is sent, with an operation of its own", () => {
    const types = [...Object.keys(webhookUrgencies), "webhook.test"];
    expect(Object.keys(document.webhooks).toSorted()).toEqual(types.toSorted());
    const ids = [...operations, ...webhooks].map(({ operationId }) => operationId);
    expect(new Set(ids).size).toBe(ids.length);
    expect(document.webhooks["order.paid"]?.post).toMatchObject({
      operationId: "onOrderPaid",
      parameters: ["webhook-id", "webhook-timestamp", "webhook-signature"].map((name) =>
        expect.objectContaining({ in: "header", name, required: true }),
      ),
    });
  });

  it("describes the bodies that are sent, also those of orders without optional fields", () => {
    const { number: _, note: __, deadlineAt: ___, previousStatus: ____, reason: _____, ...bare } = paid;
    for (const data of [paid, bare]) {
      const body = JSON.parse(preparationBody(message("order.paid", data), "https://example.org/callback"));
      expect(errorsOf(bodyOf(document.webhooks["order.paid"]?.post), body)).toEqual([]);
      for (const type of Object.keys(webhookUrgencies).filter((one) => one !== "order.paid")) {
        const sent = JSON.parse(informationBody(message(type, data) as Message<WebhookEvent>));
        expect([type, errorsOf(bodyOf(document.webhooks[type]?.post), sent)]).toEqual([type, []]);
      }
    }
    const test = JSON.parse(testBody(newId(), newId(), "2026-11-22T10:30:00.000Z"));
    expect(errorsOf(bodyOf(document.webhooks["webhook.test"]?.post), test)).toEqual([]);
    const late = bodyToSend(
      { type: "order.paid", body: preparationBody(message("order.paid"), "https://example.org/"), ageMs: 2 },
      1,
    );
    expect(errorsOf(bodyOf(document.webhooks["order.paid"]?.post), JSON.parse(late))).toEqual([]);
  });

  it("tells the bodies of partners' callbacks apart by type, with an example that the check of callbacks accepts", () => {
    const { schema, examples = {} } = bodyOf(document.paths["/webhooks/partners/{partner_id}"]?.post);
    const { oneOf, discriminator } = schema as {
      oneOf: object[];
      discriminator: { propertyName: string; mapping: Record<string, string> };
    };
    const types = [...partnerCallbackBody.props.type.values].toSorted();
    expect(discriminator.propertyName).toBe("type");
    expect(Object.keys(discriminator.mapping).toSorted()).toEqual(types);
    expect(oneOf).toHaveLength(types.length);
    expect(Object.keys(examples).toSorted()).toEqual(types);
    for (const { value } of Object.values(examples))
      expect(validatorOf(partnerCallbackBody)(value)).toEqual([]);
  });

  it("has the reports of the adapter sandbox, as its payment system sends them and its adapter reads them", () => {
    const body = bodyOf(document.paths["/webhooks/payments/{bank_id}"]?.post);
    const secret = newSecret();
    const bank = openBank("sandbox", { apiKey: "key", webhookSecret: secret }, "https://bank.example.org");
    const kinds = Object.keys(bankReports).map((type) => {
      const text = JSON.stringify(body.examples?.[type]?.value);
      const now = Date.now();
      const verdict = bank.verify({
        headers: { ...signedHeaders("evt", text, [secret], now) },
        body: text,
        now,
      });
      return verdict.kind === "event" ? verdict.event.kind : verdict;
    });
    expect(kinds).toEqual(["paid", "failed", "refunded"]);
  });

  it("has every report of Stripe that docs/operating.md tells to choose", () => {
    const page = readFileSync("docs/operating.md", "utf8");
    const text = /with the events\s+([\s\S]*?), API/.exec(page)?.[1] ?? "";
    const named = [...text.matchAll(/`(\.?[a-z_.]+)`/g)].map(([, name = ""]) =>
      name.startsWith(".") ? `charge.dispute${name}` : name,
    );
    expect(named.length).toBeGreaterThan(8);
    expect(named.filter((name) => !(stripeReportTypes as readonly string[]).includes(name))).toEqual([]);
  });
});
