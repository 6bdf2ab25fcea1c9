import type { CallingOptions, Context } from "moleculer";

const OPERATOR = Symbol("waybill.operator");

/**
 * Calling options by which the REPL of this very process acts as its operator. The mark is a symbol in the
 * options of a local call: options never cross a transporter or the bridge, and no request of a client is
 * turned into options, so nobody outside the process can set it.
 */
export function asOperator(options: CallingOptions = {}): CallingOptions {
  return { ...options, [OPERATOR]: true } as CallingOptions;
}

export function isOperator(ctx: Context): boolean {
  return (ctx.options as { [OPERATOR]?: boolean } | undefined)?.[OPERATOR] === true;
}
