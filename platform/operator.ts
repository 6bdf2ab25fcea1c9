import { setTimeout as delay } from "node:timers/promises";
import { call } from "../contracts/actions.ts";
import { fail, typeOf } from "../contracts/errors.ts";
import type { Settings } from "../lib/settings/settings.ts";
import { rebuildsOf } from "../mixins/documents/documents.mixin.ts";
import { readGauges } from "../mixins/health/health.mixin.ts";
import type { ControlHandlers } from "./control/server.ts";
import { keepSecrets } from "./secrets.ts";
import type { Topology } from "./topology.ts";

/** The account of this machine's console, created at its first use. */
const OPERATOR_EMAIL = "operator@waybill.local";
/** Access tokens are valid for ten minutes. */
const TOKEN_KEPT_MS = 240_000;
const ADMIN_RETRY_MS = 1_000;
/** Long, because an identity provider that has just started is slow. */
const ADMIN_TIMEOUT_MS = 20_000;
/** Errors that end when the identity provider is reachable, or when another start has made the account. */
const TEMPORARY = new Set(["SERVICE_UNAVAILABLE", "DEADLINE_EXCEEDED", "REQUEST_TIMEOUT", "OVERLOADED"]);

/**
 * Creates the first admin of the settings, unless that account exists. In a cluster, where processes start in any order,
 * it waits for the identity provider without a limit.
 * @param report receives lines for the operator
 * @throws Error when the address belongs to a user who is not an admin; AbortError
 */
export async function ensureFirstAdmin(
  { brokerOf }: Topology,
  settings: Settings,
  { signal, report }: { signal: AbortSignal; report: (line: string) => void },
): Promise<void> {
  const { ADMIN_EMAIL: email, ADMIN_PASSWORD: password } = settings;
  if (!email || !password || !settings.SERVICES.includes("identity")) return;
  for (let tries = 1; ; tries += 1) {
    try {
      const options = { timeout: ADMIN_TIMEOUT_MS };
      await call(brokerOf("identity"), "identity.createAdmin", { email, password }, options);
      return;
    } catch (error) {
      if (!TEMPORARY.has(typeOf(error) ?? "")) throw error;
      if (tries === 1) report("The first admin waits for the identity provider, which does not answer");
      await delay(ADMIN_RETRY_MS, undefined, { signal });
    }
  }
}

/**
 * The handlers of the control socket. The local operator is an account with a generated password, so every service
 * verifies its calls like those of any user, and the audit log contains its id. See docs/adr/0007-topologies.md.
 */
export function operatorHandlers(
  { brokers, brokerOf }: Topology,
  settings: Settings,
): Omit<ControlHandlers, "hello"> {
  let kept: { token: Promise<string>; untilMs: number } | undefined;
  const signIn = async () => {
    const { OPERATOR_PASSWORD: password } = keepSecrets(settings.DATA_DIR, ["OPERATOR_PASSWORD"]);
    const account = { email: OPERATOR_EMAIL, password };
    const identity = brokerOf("identity");
    await call(identity, "identity.createAdmin", account);
    return (await call(identity, "identity.signIn", { ...account, userAgent: "console" })).accessToken;
  };
  return {
    async token() {
      if (!kept || performance.now() > kept.untilMs) {
        kept = { token: signIn(), untilMs: performance.now() + TOKEN_KEPT_MS };
        kept.token.catch(() => {
          kept = undefined;
        });
      }
      return { token: await kept.token };
    },
    createAdmin: ({ email, password }) =>
      call(brokerOf("identity"), "identity.createAdmin", { email, password }),
    collections: () => ({ collections: brokers.flatMap((broker) => [...rebuildsOf(broker).keys()]) }),
    async rebuild({ collection }) {
      const rebuild = brokers.map((broker) => rebuildsOf(broker).get(collection)).find(Boolean);
      if (!rebuild) throw fail("NOT_FOUND", `There is no collection ${collection} that can be rebuilt.`);
      return { documents: await rebuild() };
    },
    async gauges() {
      return { gauges: (await Promise.all(brokers.map(readGauges))).flat() };
    },
  };
}
