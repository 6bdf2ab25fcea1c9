import { type handleUnaryCall, type ServerUnaryCall, status as Status } from "@grpc/grpc-js";
import { type Answer, type AnswerOptions, GONE, MAX_BUDGET_MS } from "./answer.ts";
import { MAX_MESSAGE_BYTES } from "./channel-options.ts";
import { CREDENTIAL_KEY, proven } from "./credential.ts";
import { type Refusal, toStatus } from "./errors.ts";
import { fromMetadata } from "./metadata.ts";

type Call = ServerUnaryCall<Buffer, Buffer>;

/** The door for plain clients: one method, with a credential for it in the metadata of each call. */
export function unaryHandler(
  { secret, previousSecret, clock }: AnswerOptions,
  path: string,
  answer: Answer,
): handleUnaryCall<Buffer, Buffer> {
  async function outcome(call: Call): Promise<Buffer | Refusal> {
    const credential = call.metadata.get(CREDENTIAL_KEY)[0];
    const proof = proven(credential, { secret, previousSecret, path, clock });
    if (!proof) return { code: Status.UNAUTHENTICATED, details: "No valid credential." };
    const timeoutMs = budgetMs(call);
    if (timeoutMs <= 0 || call.cancelled) return { code: Status.DEADLINE_EXCEEDED, details: "Too late." };
    const { request } = call;
    if (request.length > MAX_MESSAGE_BYTES) {
      return { code: Status.RESOURCE_EXHAUSTED, details: "The call has more than 1 MiB." };
    }
    const gone = new AbortController();
    call.once("cancelled", () => gone.abort(GONE));
    const facts = fromMetadata(call.metadata);
    return answer({ peer: proof.node, facts, request, timeoutMs, signal: gone.signal });
  }

  return async (call, respond) => {
    const found = await outcome(call);
    if (Buffer.isBuffer(found)) respond(null, found);
    else respond(toStatus(found));
  };
}

function budgetMs(call: Call): number {
  const deadline = call.getDeadline();
  const atMs = typeof deadline === "number" ? deadline : deadline.getTime();
  return Math.min(atMs - Date.now(), MAX_BUDGET_MS);
}
