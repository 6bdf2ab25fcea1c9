import { withTimeout } from "../timeout.ts";

const MAX_BODY_BYTES = 1_048_576;

export interface BoundedCall extends Omit<RequestInit, "signal"> {
  /** For the whole exchange, from the name's lookup to the last byte of the body. */
  timeoutMs: number;
  /** The longest body that is read. Default: 1 MiB. */
  maxBodyBytes?: number | undefined;
  /** Ends the call earlier. */
  signal?: AbortSignal | null | undefined;
}

export interface BoundedAnswer {
  status: number;
  headers: Headers;
  text: string;
}

/**
 * `fetch` for servers that we do not run: it ends within its time limit whatever the server does, and reads no endless
 * body. A redirect is an answer like any other, because what we send often carries a key.
 * @throws TimeoutError, or what `fetch` throws; Error for a body that is too long
 */
export async function boundedFetch(
  url: string | URL,
  { timeoutMs, maxBodyBytes = MAX_BODY_BYTES, signal: cancel, ...init }: BoundedCall,
): Promise<BoundedAnswer> {
  const exchange = async (signal: AbortSignal) => {
    const response = await fetch(url, { redirect: "manual", ...init, signal });
    const { status, headers } = response;
    return { status, headers, text: await textOf(response, maxBodyBytes) };
  };
  return await withTimeout(timeoutMs, exchange, cancel ?? undefined);
}

/** Leaving the loop cancels the body, which closes the connection. */
async function textOf({ body }: Response, maxBytes: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body ?? []) {
    size += chunk.byteLength;
    if (size > maxBytes) throw new Error("the answer is too long");
    chunks.push(chunk);
  }
  return new TextDecoder().decode(Buffer.concat(chunks));
}
