/** The parts of an operation on which a program relies that was written for an earlier release. */
export interface ReleasedOperation {
  method: string;
  path: string;
  success: string;
  /** Input by place and name: `query limit`, `body.lines[].quantity`; with its type, `!` when required. */
  takes: Record<string, string>;
  /** Output: `lines[].title`; with its type, `!` when it is always present. */
  answers: Record<string, string>;
}
export type ReleasedApi = Record<string, ReleasedOperation>;

interface Schema {
  $ref?: string;
  type?: string | string[];
  anyOf?: Schema[];
  format?: string;
  enum?: (string | null)[];
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  additionalProperties?: Schema | boolean;
}
interface Media {
  content?: Record<string, { schema: Schema }>;
}
interface Operation {
  operationId: string;
  parameters?: { in: string; name: string; required: boolean; schema: Schema }[];
  requestBody?: Media & { required: boolean };
  responses: Record<string, Media>;
}
export interface ApiDocument {
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, Schema> };
}

/** The part of the document that later releases are held against. */
export function releasedApi({ paths, components }: ApiDocument): ReleasedApi {
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => [path, method, operation] as const),
  );
  const fields = (nullable: Schema, place: string, required: boolean): [string, string][] => {
    const schema = withoutNull(nullable);
    const known = schema.$ref
      ? (components.schemas[schema.$ref.split("/").at(-1) as string] as Schema)
      : schema;
    const orNull = schema === nullable ? "" : OR_NULL;
    const inner = Object.entries(known.properties ?? {}).flatMap(([name, one]) =>
      fields(one, place === "" ? name : `${place}.${name}`, known.required?.includes(name) ?? false),
    );
    const items = known.items ? fields(known.items, `${place}[]`, true) : [];
    return [[place, `${typeOf(known)}${orNull}${required ? "!" : ""}`], ...inner, ...items];
  };
  const contents = ({ content = {} }: Media, place: string, required: boolean) =>
    Object.entries(content).flatMap(([type, { schema }]) =>
      type === "application/json"
        ? fields(schema, place, required)
        : [[`${place} ${type}`.trim(), "bytes"] as [string, string]],
    );
  const entries = operations.map(
    ([path, method, { operationId, parameters = [], requestBody, responses }]) => {
      const success = Object.keys(responses).filter((status) => status.startsWith("2"));
      const takes = [
        ...parameters.map((one): [string, string] => [
          `${one.in} ${one.name}`,
          `${typeOf(one.schema)}${one.required ? "!" : ""}`,
        ]),
        ...contents(requestBody ?? {}, "body", requestBody?.required ?? false),
      ];
      const answers = success.flatMap((status) => contents(responses[status] as Media, "", true));
      return [
        operationId,
        {
          method,
          path,
          success: success.join(),
          takes: Object.fromEntries(takes),
          answers: Object.fromEntries(answers),
        },
      ] as const;
    },
  );
  return Object.fromEntries(entries.toSorted(([a], [b]) => a.localeCompare(b)));
}

const OR_NULL = " or null";

/** The schema of the values that are not null; the same one where null is none of them. */
function withoutNull(schema: Schema): Schema {
  const { anyOf, type, enum: values } = schema;
  const [only] = anyOf?.filter((one) => one.type !== "null") ?? [];
  if (only) return only;
  if (!Array.isArray(type)) return schema;
  return {
    ...schema,
    type: type.find((name) => name !== "null") as string,
    ...(values && { enum: values.filter((value) => value !== null) }),
  };
}

function typeOf({ type = "any", enum: values }: Schema): string {
  return values ? `one of ${values.join(" ")}` : String(type);
}

/** The changes that would break a program written for the earlier release, a line each. */
export function apiBreaks(before: ReleasedApi, now: ReleasedApi): string[] {
  return Object.entries(before).flatMap(([id, old]) => {
    const operation = now[id];
    if (!operation) return [`${id}: removed`];
    const moved = (["method", "path", "success"] as const)
      .filter((part) => old[part] !== operation[part])
      .map((part) => `${id}: its ${part} was ${old[part]}, is ${operation[part]}`);
    return [
      ...moved,
      ...takesLess(old.takes, operation.takes).map((line) => `${id} takes ${line}`),
      ...answersLess(old.answers, operation.answers).map((line) => `${id} answers ${line}`),
    ];
  });
}

function takesLess(before: Record<string, string>, now: Record<string, string>): string[] {
  const fewer = Object.entries(before).flatMap(([name, old]) => {
    const type = now[name];
    if (type === undefined) return [`${name} no longer`];
    const [was, is] = old.includes(OR_NULL) ? [old, type] : [old, type.replace(OR_NULL, "")];
    if (bare(was) !== bare(is) && !holdsAll(is, was)) return [`${name} as ${bare(type)}, was ${bare(old)}`];
    return [];
  });
  const more = Object.entries(now).flatMap(([name, type]) => {
    if (!type.endsWith("!") || before[name]?.endsWith("!")) return [];
    // A required field in a new optional object requires nothing of existing clients.
    const owner = ownerOf(name);
    return owner !== undefined && !(owner in before) ? [] : [`only with ${name}`];
  });
  return [...fewer, ...more];
}

function answersLess(before: Record<string, string>, now: Record<string, string>): string[] {
  return Object.entries(before).flatMap(([name, old]) => {
    const type = now[name];
    if (type === undefined) return [`${name} no longer`];
    if (bare(old) !== bare(type) && !(bare(old).startsWith("one of ") && bare(type).startsWith("one of ")))
      return [`${name} as ${bare(type)}, was ${bare(old)}`];
    return old.endsWith("!") && !type.endsWith("!") ? [`${name} not always`] : [];
  });
}

const bare = (type: string) => type.replace(/!$/, "");

/** Whether an enum has every value of an earlier one. */
function holdsAll(now: string, before: string): boolean {
  if (!now.startsWith("one of ") || !before.startsWith("one of ")) return false;
  const values = bare(now).split(" ");
  return bare(before)
    .split(" ")
    .every((value) => values.includes(value));
}

/** `body.lines[].quantity` stands in `body.lines[]`; `query limit` in nothing. */
function ownerOf(name: string): string | undefined {
  const at = name.lastIndexOf(".");
  if (at > 0) return name.slice(0, at);
  return name.endsWith("[]") ? name.slice(0, -2) : undefined;
}
