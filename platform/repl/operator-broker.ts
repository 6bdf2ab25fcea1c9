import { type CallingOptions, type Middleware, ServiceBroker } from "moleculer";
import type { Meta } from "../../contracts/meta.ts";
import type { ControlConnection } from "../control/client.ts";
import { SocketTransporter } from "../control/socket-transporter.ts";
import { masked } from "./command.ts";

const REQUEST_TIMEOUT_MS = 10_000;
const JOIN_TIMEOUT_MS = 5_000;
/** Tokens live ten minutes. */
const TOKEN_FRESH_MS = 240_000;

/**
 * A node of the platform that runs nothing and calls everything, as the operator of this machine: each of its
 * calls carries an access token that the platform gave out over its control socket.
 * @param customCommands for an interactive session
 */
export async function operatorBroker(
  platform: ControlConnection,
  customCommands: unknown[],
): Promise<ServiceBroker> {
  const { namespace, services } = await platform.request("hello", {});
  const broker = new ServiceBroker({
    namespace,
    nodeID: `operator-${process.pid}`,
    transporter: new SocketTransporter(platform),
    logger: { type: "Console", options: { level: "error", formatter: "simple" } },
    requestTimeout: REQUEST_TIMEOUT_MS,
    contextParamsCloning: false,
    skipProcessEventRegistration: true,
    middlewares: [asOperator(platform)],
    replOptions: { delimiter: "waybill $", customCommands },
  } as ConstructorParameters<typeof ServiceBroker>[0]);
  await broker.start();
  await broker.waitForServices([...services], JOIN_TIMEOUT_MS, 20);
  return broker;
}

type Call = (name: string, params?: unknown, options?: CallingOptions) => Promise<unknown>;

/** Puts the operator's token to every call and masks the secrets of every answer that is shown. */
function asOperator(platform: ControlConnection): Middleware {
  let token: Promise<{ token: string }> | undefined;
  let freshUntilMs = 0;
  const tokenOf = async () => {
    if (!token || performance.now() > freshUntilMs) {
      token = platform.request("token", {});
      freshUntilMs = performance.now() + TOKEN_FRESH_MS;
    }
    return (await token).token;
  };
  return {
    name: "Operator",
    call(next: Call): Call {
      return async (name, params, options = {}) => {
        if (name.startsWith("$")) return await next(name, params, options);
        const meta: Meta = { token: await tokenOf(), ...options.meta };
        return masked(await next(name, params, { ...options, meta }));
      };
    },
  } as unknown as Middleware;
}
