import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { describe, expect, it } from "@jest/globals";
import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { parse } from "yaml";
import { messages } from "../../contracts/messages.ts";

interface Reference {
  $ref: string;
}
interface Document {
  asyncapi: string;
  info: { title: string; version: string };
  channels: Record<string, { address: string; messages: Record<string, Reference> }>;
  operations: Record<string, { action: string; channel: Reference }>;
  components: {
    messages: Record<string, { name: string; payload: object; examples: { payload: object }[] }>;
    schemas: Record<string, object>;
  };
}

const text = readFileSync(resolve(import.meta.dirname, "../../asyncapi.yaml"), "utf8");
const document = parse(text) as Document;
const types = Object.keys(messages);

/** The fields that AsyncAPI 3.0.0 defines for each object that we use. Other fields are refused. */
const reference = {
  type: "object",
  properties: { $ref: { type: "string", pattern: "^#/" } },
  required: ["$ref"],
  additionalProperties: false,
};
const key = { pattern: "^[A-Za-z0-9_-]+$" };
const map = (items: object) => ({ type: "object", propertyNames: key, additionalProperties: items });
const structure = {
  type: "object",
  properties: {
    asyncapi: { const: "3.0.0" },
    info: {
      type: "object",
      properties: {
        title: { type: "string" },
        version: { type: "string" },
        description: { type: "string" },
        license: {
          type: "object",
          properties: { name: { type: "string" }, url: { type: "string", format: "uri" } },
          required: ["name"],
          additionalProperties: false,
        },
      },
      required: ["title", "version"],
      additionalProperties: false,
    },
    defaultContentType: { type: "string", pattern: "^[a-z]+/[a-z0-9.+-]+$" },
    channels: map({
      type: "object",
      properties: { address: { type: ["string", "null"] }, messages: map(reference) },
      additionalProperties: false,
    }),
    operations: map({
      type: "object",
      properties: {
        action: { enum: ["send", "receive"] },
        channel: reference,
        summary: { type: "string" },
      },
      required: ["action", "channel"],
      additionalProperties: false,
    }),
    components: {
      type: "object",
      properties: {
        messages: map({
          type: "object",
          properties: {
            name: { type: "string" },
            title: { type: "string" },
            payload: { type: "object" },
            examples: {
              type: "array",
              items: {
                type: "object",
                properties: { name: { type: "string" }, payload: {} },
                required: ["payload"],
                additionalProperties: false,
              },
            },
          },
          additionalProperties: false,
        }),
        schemas: map({ type: "object" }),
      },
      additionalProperties: false,
    },
  },
  required: ["asyncapi", "info"],
  additionalProperties: false,
};

function validator(): Ajv2020 {
  const ajv = new Ajv2020({ strict: false });
  (addFormats as unknown as (ajv: Ajv2020) => void)(ajv);
  return ajv;
}

describe("asyncapi.yaml", () => {
  it("has the structure of AsyncAPI 3.0", () => {
    const validate = validator().compile(structure);
    expect({ valid: validate(document), errors: validate.errors }).toEqual({ valid: true, errors: null });
  });

  it("has a channel, an operation and a message for every type, and no broken references", () => {
    expect(Object.values(document.channels).map(({ address }) => address)).toEqual(
      types.map((type) => `waybill.${type}`),
    );
    expect(Object.keys(document.operations)).toHaveLength(types.length);
    expect(Object.values(document.components.messages).map(({ name }) => name)).toEqual(types);
    for (const [, path = ""] of text.matchAll(/\$ref: "?#\/([^"\s]+)/g)) {
      const found = path
        .split("/")
        .reduce<unknown>((place, name) => (place as Record<string, unknown> | undefined)?.[name], document);
      expect([path, typeof found]).toEqual([path, "object"]);
    }
  });

  it("has an example for each message that its payload's schema accepts, and no extra fields", () => {
    const ajv = validator();
    ajv.addSchema({ $id: "doc", components: document.components });
    for (const { name, payload, examples } of Object.values(document.components.messages)) {
      const validate = ajv.compile(JSON.parse(JSON.stringify(payload).replaceAll('"#/', '"doc#/')));
      expect(examples).not.toHaveLength(0);
      for (const example of examples) {
        expect([name, validate(example.payload), validate.errors]).toEqual([name, true, null]);
        expect(validate({ ...example.payload, data: { no_such_field: 1 } })).toBe(false);
        expect(validate({ ...example.payload, type: "order.unknown" })).toBe(false);
      }
    }
  });
});
