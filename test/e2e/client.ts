import { type AnswerChecker, answerChecker, type OpenApi } from "../support/answers.ts";
import { platform, type TestPlatform } from "../support/platform.ts";

export interface Sending {
  token?: string;
  body?: unknown;
  /** The bytes of an image. */
  image?: Buffer;
  key?: string;
  headers?: Record<string, string>;
}

export interface Reply<T> {
  status: number;
  headers: Headers;
  body: T;
  /** The body as it came. */
  bytes: Buffer;
}

/**
 * A client of the public API that believes nothing: every answer is held against the OpenAPI document that the
 * platform serves, so a status or a field that is not declared fails the test that met it.
 */
export interface Client extends TestPlatform {
  /** Operations that have answered 2xx so far, as the document calls them. */
  readonly reached: ReadonlySet<string>;
  request<T = unknown>(operation: string, sending?: Sending): Promise<Reply<T>>;
  /** The body of a success. @throws Error with the problem document for anything else */
  ok<T = unknown>(operation: string, sending?: Sending): Promise<T>;
  /** The code of a refusal with its status. @throws Error for a success */
  refused(operation: string, sending?: Sending): Promise<{ status: number; code: string }>;
}

/** @param operation `"POST /orders/check"`: the method, and the path below /api/v1 with its query */
export async function connect(): Promise<Client> {
  const there = await platform();
  const document = (await (await fetch(`${there.url}/openapi.json`)).json()) as OpenApi;
  const checker: AnswerChecker = answerChecker(document);
  const reached = new Set<string>();

  async function request<T>(operation: string, sending: Sending = {}): Promise<Reply<T>> {
    const [method = "", target = ""] = operation.split(" ");
    const { token, body, image, key, headers } = sending;
    const sent =
      image ?? (typeof body === "string" ? body : body === undefined ? undefined : JSON.stringify(body));
    const response = await fetch(`${there.url}/api/v1${target}`, {
      method,
      headers: {
        ...(sent !== undefined && { "Content-Type": image ? "image/png" : "application/json" }),
        ...(token && { Authorization: `Bearer ${token}` }),
        ...(key && { "Idempotency-Key": key }),
        ...headers,
      },
      ...(sent !== undefined && { body: sent }),
    });
    const bytes = Buffer.from(await response.arrayBuffer());
    const type = response.headers.get("content-type") ?? undefined;
    const parsed = type && /json/.test(type) ? JSON.parse(bytes.toString("utf8")) : undefined;
    const { status } = response;
    const path = target.split("?")[0] as string;
    const name = checker.check({ method, path, status, type, body: parsed });
    if (response.ok) reached.add(name);
    return { status, headers: response.headers, body: parsed as T, bytes };
  }

  return {
    ...there,
    reached,
    request,
    async ok<T>(operation: string, sending?: Sending) {
      const { status, body } = await request<T>(operation, sending);
      if (status >= 300) throw new Error(`${operation} answered ${status}: ${JSON.stringify(body)}`);
      return body;
    },
    async refused(operation, sending) {
      const { status, body } = await request<{ code: string }>(operation, sending);
      if (status < 400) throw new Error(`${operation} answered ${status}: ${JSON.stringify(body)}`);
      return { status, code: body.code };
    },
  };
}
