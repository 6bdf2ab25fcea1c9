import type { OpenApi } from "../support/answers.ts";

/** One operation as the document describes it: all that a generator of requests knows. */
export interface Documented {
  /** `POST /orders/{order_id}/cancel` */
  operation: string;
  method: string;
  path: string;
  /** Names in the path and in the query. */
  placeholders: string[];
  queries: string[];
  /** A value of each query parameter that it requires. */
  required: Record<string, string>;
  /** The first media type that it takes, and what it shows of JSON. */
  body?: { type: string; example?: unknown };
  /** Whether it answers with a stream that does not end. */
  streams: boolean;
}

export function documentedIn({ paths }: OpenApi): Documented[] {
  return Object.entries(paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([verb, { parameters = [], requestBody, responses }]) => {
      const method = verb.toUpperCase();
      const [type, media] = Object.entries(requestBody?.content ?? {})[0] ?? [];
      const named = (place: string) => parameters.filter((one) => one.in === place).map(({ name }) => name);
      return {
        ...{ operation: `${method} ${path}`, method, path },
        ...{ placeholders: named("path"), queries: named("query") },
        required: Object.fromEntries(
          parameters
            .filter((one) => one.in === "query" && one.required)
            .map(({ name, schema, example }) => [
              name,
              String(example ?? schema?.enum?.[0] ?? schema?.example),
            ]),
        ),
        ...(type !== undefined && { body: { type, example: media?.example } }),
        streams: "text/event-stream" in (responses["200"]?.content ?? {}),
      };
    }),
  );
}

/** Whether generated requests can be sent by a user who is needed afterwards, and end by themselves. */
export function isRepeatable({ method, path, streams }: Documented): boolean {
  // Deletion of the account, sign-out and a new password end the sender's access.
  const ends = method === "DELETE" ? /^\/(me$|sessions)/ : /^\/me\/password$/;
  return !streams && !ends.test(path);
}
