/**
 * Points in the code where a crash test ends the process with SIGKILL. The variable FAILPOINTS lists them, each with the
 * pass that ends it: `relay.published` (the first) or `relay.published:3`. Without the variable, outside such tests, a
 * failpoint is an empty function.
 */
export type Failpoint =
  | "relay.claimed"
  | "relay.published"
  | "relay.sent"
  | "consumer.accepting"
  | "consumer.accepted"
  | "consumer.claimed"
  | "consumer.applied"
  | "consumer.performed"
  | "consumer.committed"
  | "idempotency.claimed"
  | "idempotency.finishing"
  | "idempotency.stored"
  | "transaction.ending"
  | "transaction.ended"
  | "refund.claimed"
  | "refund.asked"
  | "refund.ended"
  /** Points in tests. */
  | `test.${string}`;

/** Does nothing, or kills the process. @throws Error when the module loads with FAILPOINTS in production */
export const failpoint: (name: Failpoint) => void = arm(process.env.FAILPOINTS, process.env.NODE_ENV);

function arm(armed: string | undefined, environment: string | undefined): (name: Failpoint) => void {
  if (!armed) return () => undefined;
  if (environment === "production") throw new Error("FAILPOINTS must not be set in production");
  const passesLeft = new Map(
    armed.split(",").map((entry) => {
      const [name = "", pass = "1"] = entry.trim().split(":");
      return [name, Number(pass)] as const;
    }),
  );
  return (name) => {
    const left = passesLeft.get(name);
    if (left === undefined) return;
    passesLeft.set(name, left - 1);
    if (left !== 1) return;
    process.kill(process.pid, "SIGKILL");
    // The signal may reach another thread first: nothing after this line may run.
    for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_000);
  };
}
