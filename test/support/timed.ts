/**
 * Whether times are held against their limits. On a machine that runs other tests too they depend on those, so `npm test`
 * does not; `npm run test:timed` runs the same files alone, and is a part of each CI run.
 */
export const isTimed = Boolean(process.env.TIMED || process.env.NIGHTLY);
