import type { Infer, Props, Rule } from "./schema.ts";

interface ParamsRule extends Rule {
  readonly type: "object";
  readonly props: Props;
}

export interface ActionContract<P extends ParamsRule = ParamsRule, R extends Rule = Rule> {
  readonly params: P;
  readonly result: R;
  /** A repeat of the same call has no further effect, so Moleculer may retry it. */
  readonly idempotent: boolean;
}

/** The contract of one action: its parameters, its result, and whether a caller may repeat it. */
export function action<const P extends ParamsRule, const R extends Rule>(
  params: P,
  result: R,
  { idempotent = false }: { idempotent?: boolean } = {},
): ActionContract<P, R> {
  return { params, result, idempotent };
}

export type ParamsOf<A> = A extends ActionContract<infer P, Rule> ? Infer<P> : never;
export type ResultOf<A> = A extends ActionContract<ParamsRule, infer R> ? Infer<R> : never;
