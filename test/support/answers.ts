import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";

interface MediaType {
  schema: object;
  example?: unknown;
}
interface Response {
  $ref?: string;
  content?: Record<string, MediaType>;
}
interface Operation {
  parameters?: readonly {
    in: string;
    name: string;
    required?: boolean;
    schema?: { enum?: readonly string[]; example?: unknown };
    example?: unknown;
  }[];
  requestBody?: { content: Record<string, MediaType> };
  responses: Record<string, Response>;
}
export interface OpenApi {
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, object>; responses: Record<string, Response> };
}

export interface Answer {
  method: string;
  /** Below the base path, without the query. */
  path: string;
  status: number;
  /** As in Content-Type; undefined without a body. */
  type?: string | undefined;
  body?: unknown;
}

/**
 * Holds answers against the OpenAPI document that the platform itself serves: a status that an operation does not
 * declare is wrong, and so is a field that its schema does not have.
 */
export function answerChecker(document: OpenApi) {
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  (addFormats as unknown as (ajv: Ajv2020) => void)(ajv);
  ajv.addSchema({ $id: "doc", components: document.components });
  const validators = new Map<object, ValidateFunction>();
  const templates = Object.keys(document.paths).map((template) => ({
    template,
    pattern: new RegExp(`^${template.replace(/\{[^}]+\}/g, "([^/]+)")}$`),
    placeholders: (template.match(/\{/g) ?? []).length,
  }));
  templates.sort((a, b) => a.placeholders - b.placeholders);

  const validatorOf = (schema: object) => {
    let validator = validators.get(schema);
    if (!validator) {
      const text = JSON.stringify(schema).replaceAll('"#/components', '"doc#/components');
      validator = ajv.compile(JSON.parse(text));
      validators.set(schema, validator);
    }
    return validator;
  };
  const responseOf = ({ method, path, status }: Answer): [string, Response | undefined] => {
    const matches = templates.filter(({ pattern }) => pattern.test(path));
    const template = matches.find((one) => document.paths[one.template]?.[method.toLowerCase()])?.template;
    const declared = template && document.paths[template]?.[method.toLowerCase()]?.responses[String(status)];
    if (!declared) return [`${method} ${template ?? path}`, undefined];
    const name = declared.$ref?.slice("#/components/responses/".length);
    return [`${method} ${template}`, name ? document.components.responses[name] : declared];
  };

  return {
    /** The operation as the document calls it. @throws Error that says what was not declared */
    check(answer: Answer): string {
      const [operation, response] = responseOf(answer);
      const said = `${operation} answered ${answer.status}`;
      if (!response) throw new Error(`${said}, which it does not declare: ${JSON.stringify(answer.body)}`);
      const { content } = response;
      const type = answer.type?.split(";")[0];
      if (!content) {
        if (type !== undefined) throw new Error(`${said} with a body that it does not declare`);
        return operation;
      }
      const media = content[type ?? ""] ?? content[`${type?.split("/")[0]}/*`];
      if (!media) throw new Error(`${said} with ${type}, which it does not declare`);
      if (!/[/+]json$/.test(type ?? "")) return operation;
      const validate = validatorOf(media.schema);
      if (!validate(answer.body)) {
        const wrong = ajv.errorsText(validate.errors);
        throw new Error(
          `${said} with a body that its schema refuses: ${wrong}\n${JSON.stringify(answer.body)}`,
        );
      }
      return operation;
    },
    /** Every operation of the document. */
    operations: Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    ),
  };
}

export type AnswerChecker = ReturnType<typeof answerChecker>;
