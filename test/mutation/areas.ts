/** The core: what an order's life, money, messages and accounts depend on. Globs from the root. */
export const areas: Record<string, readonly string[]> = {
  orders: ["services/orders/**/*.ts"],
  partners: ["services/partners/**/*.ts"],
  identity: ["services/identity/**/*.ts", "providers/identity/built-in*.ts"],
  api: ["services/api/**/*.ts"],
  messages: ["mixins/{consumer,outbox}/**/*.ts", "mixins/postgres/idempotency*.ts", "lib/messaging/*.ts"],
  banks: ["providers/banks/*.ts"],
  lib: ["lib/net/*.ts", "lib/money.ts", "lib/backoff.ts"],
};

/** Suites that adapters pass and generated texts are no product code; the REST surface has a suite of its own. */
export const leftOut = [/conformance\.ts$/, /^services\/api\/(?:routes|examples)\//];
