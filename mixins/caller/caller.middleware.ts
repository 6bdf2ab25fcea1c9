import type { JWK } from "jose";
import type { Context, Middleware, ServiceBroker } from "moleculer";
import { call } from "../../contracts/actions.ts";
import type { Locals, Meta } from "../../contracts/meta.ts";
import type { Clock } from "../../lib/clock.ts";
import { hasAction } from "../transporter/moleculer-internals.ts";
import { type TokenVerifier, tokenVerifier } from "./token-verifier.ts";

export interface CallerOptions {
  /** The `iss` of our tokens: see `tokenIssuer` in lib/settings/issuer.ts. */
  issuer: string;
  audience?: string;
  /** Source of the public keys. Default: the action `identity.jwks`. */
  jwks?: (broker: ServiceBroker) => Promise<readonly JWK[]>;
  clock?: Clock;
}

const KEYS = "identity.jwks";

const verifiers = new WeakMap<ServiceBroker, TokenVerifier>();

/**
 * Verifies the token of each call of an action on this node and stores the caller in `ctx.locals.caller`. Locals are never
 * sent to other nodes, so a node cannot claim to be a caller. A call with an invalid token is refused. Without a token
 * there is no caller, and the action decides by `callerOf`. After the event `session.revoked` the tokens of that session
 * are refused. The keys are loaded as soon as Identity is known, so that NATS may be away at the first token.
 */
export function callerMiddleware(options: CallerOptions): Middleware {
  const { jwks = identityKeys, ...rest } = options;
  return {
    name: "Caller",
    created(broker) {
      const verifier = tokenVerifier({ ...rest, jwks: () => jwks(broker) });
      verifiers.set(broker, verifier);
      broker.localBus.on("$services.changed", () => {
        if (hasAction(broker, KEYS)) void verifier.prepare();
      });
      broker.createService({
        name: "$caller",
        events: {
          "session.revoked"(ctx: Context<{ sessionId?: unknown }>) {
            const { sessionId } = ctx.params;
            if (typeof sessionId === "string") verifier.revoke(sessionId);
          },
        },
      });
    },
    localAction(wrapped) {
      const next = wrapped as (ctx: Context) => Promise<unknown>; // bound to its service already
      return async (ctx: Context) => {
        const { token } = ctx.meta as Meta;
        if (token === undefined) return next(ctx);
        const verifier = verifierOf(ctx.broker);
        (ctx.locals as Locals).caller = callerOfParent(ctx, token) ?? (await verifier.verify(token));
        return next(ctx);
      };
    },
  };
}

/**
 * The verifier of this node's middleware, with its cache and its list of revoked sessions.
 * @throws Error on a broker without the caller middleware
 */
export function verifierOf(broker: ServiceBroker): TokenVerifier {
  const verifier = verifiers.get(broker);
  if (!verifier) throw new Error("this broker has no caller middleware");
  return verifier;
}

/** The key set of the identity provider. The call needs no token. */
export async function identityKeys(broker: ServiceBroker): Promise<readonly JWK[]> {
  return (await call(broker, KEYS, {})).keys;
}

/** The caller of the parent call, when that has the same token and was verified on this node. */
function callerOfParent(ctx: Context, token: string): Locals["caller"] {
  const parent = ctx.options.parentCtx as Context<unknown, Meta, Locals> | null | undefined;
  return parent?.broker === ctx.broker && parent.meta.token === token ? parent.locals?.caller : undefined;
}
