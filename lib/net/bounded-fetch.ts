import { withTimeout } from "../timeout.ts";

const MAX_BODY_BYTES = 1_048_576;

export interface BoundedCall extends Omit<RequestInit, "signal"> {
  /** Time limit of the whole exchange, from the DNS lookup to the last byte of the body. */
  timeoutMs: number;
  /** The maximum size of the body. Default: 1 MiB. */
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
 * `fetch` for servers of third parties. It ends within its time limit in any case, and limits the size of the body. A
 * redirect is returned and not followed, because requests often contain a key.
 * @throws TimeoutError, or the error of `fetch`; Error for a body that is too long
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

/** An error inside the loop cancels the body, which closes the connection. */
async function textOf({ body }: Response, maxBytes: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body ?? []) {
    size += chunk.byteLength;
    if (size > maxBytes) throw new Error("the response is too long");
    chunks.push(chunk);
  }
  return new TextDecoder().decode(Buffer.concat(chunks));
}
