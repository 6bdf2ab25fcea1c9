import { type BrokerOptions, type CallingOptions, type Middleware, ServiceBroker } from "moleculer";
import type { Meta } from "../../contracts/meta.ts";
import { withTimeout } from "../../lib/timeout.ts";
import { NotRunning } from "../control/client.ts";
import { masked } from "./command.ts";

const REQUEST_TIMEOUT_MS = 10_000;
const JOIN_TIMEOUT_MS = 5_000;
/** Call options of the sign-in: without a token, and with an unmasked answer. */
export const anonymous: CallingOptions = {};
/** Access tokens are valid for ten minutes. */
const TOKEN_FRESH_MS = 240_000;

export interface OperatorNode extends Pick<BrokerOptions, "namespace" | "nodeID" | "transporter"> {
  /** The services to wait for. */
  services: readonly string[];
  /** An access token of an admin, for a call of this node. */
  token: (broker: ServiceBroker) => Promise<string>;
}

/**
 * A node without services. Each of its calls has an operator's access token.
 * @param customCommands for an interactive session
 * @throws NotRunning when the platform cannot be joined
 */
export async function operatorBroker(
  { services, token, ...options }: OperatorNode,
  customCommands: unknown[],
): Promise<ServiceBroker> {
  const broker = new ServiceBroker({
    ...options,
    logger: { type: "Console", options: { level: "error", formatter: "simple" } },
    requestTimeout: REQUEST_TIMEOUT_MS,
    contextParamsCloning: false,
    skipProcessEventRegistration: true,
    middlewares: [asOperator(token)],
    replOptions: { delimiter: "waybill $", customCommands },
  } as ConstructorParameters<typeof ServiceBroker>[0]);
  try {
    await withinJoinTimeout(broker.start());
    await withinJoinTimeout(broker.waitForServices([...services], JOIN_TIMEOUT_MS, 20));
    return broker;
  } catch (error) {
    // Disconnects a broker that has connected only partly.
    await broker.stop().catch(() => undefined);
    throw error;
  }
}

async function withinJoinTimeout(work: Promise<unknown>): Promise<void> {
  await withTimeout(JOIN_TIMEOUT_MS, () => work).catch(() => {
    throw new NotRunning(
      "the platform does not answer: check that it runs, and that NATS_URL is its NATS server",
    );
  });
}

type Call = (name: string, params?: unknown, options?: CallingOptions) => Promise<unknown>;

/** Adds the operator's token to every call and masks the secrets in every answer. */
function asOperator(tokenFor: OperatorNode["token"]): Middleware {
  let node: ServiceBroker;
  let token: Promise<string> | undefined;
  let freshUntilMs = 0;
  const tokenOf = async () => {
    if (!token || performance.now() > freshUntilMs) {
      token = tokenFor(node);
      freshUntilMs = performance.now() + TOKEN_FRESH_MS;
      token.catch(() => {
        token = undefined;
      });
    }
    return await token;
  };
  return {
    name: "Operator",
    created(broker: ServiceBroker) {
      node = broker;
    },
    call(next: Call): Call {
      return async (name, params, options = {}) => {
        if (name.startsWith("$") || options === anonymous) return await next(name, params, options);
        const meta: Meta = { token: await tokenOf(), ...options.meta };
        return masked(await next(name, params, { ...options, meta }));
      };
    },
  } as unknown as Middleware;
}
