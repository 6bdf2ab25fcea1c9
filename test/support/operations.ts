import { exampleOf } from "../../contracts/documentation.ts";
import type { Role } from "../../contracts/meta.ts";
import { newId } from "../../lib/ids.ts";
import type { Endpoint } from "../../services/api/pipeline/endpoint.ts";
import type { TestGateway } from "./gateway.ts";
import type { TestClaims } from "./tokens.ts";

/** The path of the operation below the base path, with an example in each place, and the query that it requires. */
export function pathOf({ route, path, query }: Endpoint, more = ""): string {
  const values = exampleOf(path.rule) as Record<string, string>;
  const required = Object.entries(query.rule.props).filter(([, rule]) => !rule.optional);
  const pairs = required.map(([name, rule]) => `${name}=${exampleOf(rule, name)}`);
  const all = [...pairs, ...(more ? [more] : [])].join("&");
  const filled = route.path.replace(/\{(\w+)\}/g, (_, name: string) => values[name] as string);
  return all ? `${filled}?${all}` : filled;
}

/** Of a user with the right. */
export function claimsFor({ route: { access } }: Endpoint): TestClaims {
  const role = Array.isArray(access) ? (access[0] as Role) : "customer";
  return { role };
}

/** The headers of the operation. */
export async function headersOf({ body, idempotencyKey }: Endpoint, to: TestGateway, claims: TestClaims) {
  return {
    Authorization: `Bearer ${await tokenOf(to, claims)}`,
    ...(body && { "Content-Type": body.kind === "image" ? "image/png" : "application/json" }),
    ...(idempotencyKey === "required" && { "Idempotency-Key": newId() }),
  } as Record<string, string>;
}

const tokens = new Map<string, Promise<string>>();

/** Signing costs more than anything else here: one token for those who are alike. */
function tokenOf(to: TestGateway, claims: TestClaims): Promise<string> {
  const key = `${to.port} ${JSON.stringify(claims)}`;
  const token = tokens.get(key) ?? to.identity.token(claims);
  tokens.set(key, token);
  return token;
}

/** The example of the documentation, or some bytes where the body is not JSON. */
export function bodyOf({ body }: Endpoint): string | Buffer | undefined {
  if (!body) return undefined;
  return body.part ? JSON.stringify(body.example) : Buffer.from("bytes");
}
