import { describe, expect, it } from "@jest/globals";
import { Validator } from "@seriousme/openapi-schema-validator";
import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { actions } from "../../contracts/actions.ts";
import { exampleOf } from "../../contracts/documentation.ts";
import { messages } from "../../contracts/messages.ts";
import type { Rule } from "../../contracts/schema.ts";
import { validatorOf } from "../../contracts/validation.ts";
import { documentation } from "../../services/api/docs/documentation.ts";
import { endpointOf } from "../../services/api/pipeline/endpoint.ts";
import { BASE_PATH, routes } from "../../services/api/routes/index.ts";

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
  components: {
    schemas: Record<string, object>;
    responses: Record<string, { content: Record<string, Media>; headers?: object }>;
    headers: Record<string, object>;
  };
}

const endpoints = routes.map(endpointOf);
const document = documentation(endpoints, "https://delivery.example.org").document as unknown as Document;
const operations = Object.values(document.paths).flatMap((path) => Object.values(path));

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
      const isRevalidated = route.method === "GET" && route.content !== "events" && route.content !== "csv";
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
      ...operations.flatMap(({ requestBody, responses }) => [
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
