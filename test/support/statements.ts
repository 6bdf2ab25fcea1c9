import pg from "pg";

/**
 * The statements that this process sends to its databases until `work` is done, those of `about` alone: what runs
 * behind a service meanwhile, as its relay, has tables of its own.
 */
export async function statementsOf(about: RegExp, work: () => Promise<unknown>): Promise<string[]> {
  const prototype = pg.Client.prototype as unknown as { query: (...args: unknown[]) => unknown };
  const real = prototype.query;
  const seen: string[] = [];
  prototype.query = function (this: unknown, ...args: unknown[]) {
    const [query] = args as [string | { text?: string }];
    const text = (typeof query === "string" ? query : query.text) ?? "";
    if (about.test(text)) seen.push(text);
    return real.apply(this, args);
  };
  try {
    await work();
  } finally {
    prototype.query = real;
  }
  return seen;
}
