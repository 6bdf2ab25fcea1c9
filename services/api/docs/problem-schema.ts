import type { JsonSchema, MediaType } from "moleculer-open-api";

interface ProblemCode {
  code: string;
  status: number;
  title: string;
}

/** A problem document of RFC 9457 with additional members. */
export const problemSchema: JsonSchema = {
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

/** Members that identify one occurrence of a problem. */
const occurrence = {
  instance: "urn:waybill:request:0198c0de-7f31-7a10-9d2e-0b7c5d1e2f30",
  trace_id: "4bf92f3577b34da6a3ce929d0e0e4736",
};

const wrongField = {
  errors: [{ field: "quantity", rule: "numberMax", message: "Must be 99 or less." }],
};

/**
 * The media type of a problem document with one of these codes.
 * @param isUniform whether all documents are identical, without the members that identify an occurrence
 */
export function problemContent(
  problems: readonly ProblemCode[],
  { docsUrl, isUniform }: { docsUrl: string; isUniform: boolean },
): MediaType {
  const codes = problems.map(({ code }) => code);
  const examples = problems.map(({ code, title, status }) => [
    code,
    {
      value: {
        type: `${docsUrl}#${code}`,
        title,
        status,
        ...(!isUniform && occurrence),
        code,
        ...(code === "validation_error" && wrongField),
      },
    },
  ]);
  const required = Object.keys(occurrence);
  return {
    schema: {
      allOf: [
        { $ref: "#/components/schemas/Problem" },
        { properties: { code: { enum: codes } }, ...(!isUniform && { required }) },
      ],
    },
    examples: Object.fromEntries(examples),
  };
}
