import type { components } from "./api.ts";

type Problem = components["schemas"]["Problem"];

/** A refusal of the API (RFC 9457), or a request without an answer. */
export class ApiError extends Error {
  /** 0 without an answer. */
  readonly status: number;
  /** Stable: programs branch on it. `no_answer` and `unknown` are this client's own. */
  readonly code: string;
  /** The problem document; empty when the answer had none. */
  readonly problem: Partial<Problem>;

  constructor(status: number, problem: Partial<Problem>, message?: string) {
    super(message ?? problem.detail ?? problem.title ?? `the answer was ${status}`);
    this.name = "ApiError";
    this.status = status;
    this.code = problem.code ?? "unknown";
    this.problem = problem;
  }
}

export async function apiErrorOf(request: Request, response: Response): Promise<ApiError> {
  const problem = (await response.json().catch(() => ({}))) as Partial<Problem>;
  const { code = "unknown", title, detail, errors = [] } = problem;
  const fields = errors.map(({ field, message }) => `${field}: ${message}`).join(" ");
  const what = `${request.method} ${new URL(request.url).pathname}: ${response.status}`;
  return new ApiError(
    response.status,
    problem,
    `${what} ${[code, detail ?? title, fields].filter(Boolean).join(", ")}`,
  );
}

export function noAnswer(request: Request, error: unknown): ApiError {
  const { message, cause } = error as Error & { cause?: { code?: string } };
  const why = cause?.code ?? message;
  const what = `${request.method} ${new URL(request.url).pathname}`;
  return new ApiError(0, { code: "no_answer" }, `${what}: no answer (${why})`);
}
