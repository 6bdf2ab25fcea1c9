import { BankError } from "./port.ts";

const TIMEOUT_MS = 5_000;
const ANSWER_LIMIT_BYTES = 65_536;

export interface BankRequest {
  method: "GET" | "POST";
  url: URL;
  headers: Record<string, string>;
  body?: object;
  timeoutMs?: number | undefined;
}

/**
 * One exchange of JSON with a bank. A redirect is an answer like another: what carries a merchant's key is sent
 * to the address that was configured and to no other.
 * @returns undefined for 404
 * @throws BankError: `refused` for what the bank will never do, `unclear` for whatever may pass
 */
export async function exchange({ method, url, headers, body, timeoutMs }: BankRequest): Promise<unknown> {
  const signal = AbortSignal.timeout(Math.min(timeoutMs ?? TIMEOUT_MS, TIMEOUT_MS));
  const init: RequestInit = { method, redirect: "manual", signal, headers: { ...headers } };
  if (body) {
    init.body = JSON.stringify(body);
    init.headers = { ...headers, "content-type": "application/json" };
  }
  let response: Response;
  let text: string;
  try {
    response = await fetch(url, init);
    text = await readLimited(response);
  } catch (error) {
    throw new BankError("unclear", `no answer from ${url.host}: ${reasonOf(error)}`);
  }
  if (response.status === 404) return undefined;
  if (!response.ok) {
    throw new BankError(isDefinite(response.status) ? "refused" : "unclear", `answered ${response.status}`);
  }
  try {
    return JSON.parse(text);
  } catch {
    throw new BankError("unclear", "answered something that is not JSON");
  }
}

/**
 * Said of this very request. A wrong key or a redirect is said of us and passes once an operator mends it; 409 is
 * what many banks say while the first request with the same key is still running.
 */
function isDefinite(status: number): boolean {
  return status >= 400 && status < 500 && ![401, 403, 408, 409, 425, 429].includes(status);
}

async function readLimited(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.byteLength;
    if (size > ANSWER_LIMIT_BYTES) throw new Error("the answer is too long");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** fetch hides the reason (refused, reset) one level down. */
function reasonOf(error: unknown): string {
  const { name, message, cause } = error as Error & { cause?: { code?: string } };
  return name === "TimeoutError" ? "timeout" : (cause?.code ?? message);
}
