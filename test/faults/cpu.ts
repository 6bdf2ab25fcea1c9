import { cpus, loadavg } from "node:os";

/** How busy the whole machine was since this was called, in percent; other programs of it are counted too. */
export function cpuMeter(): () => number {
  const before = times();
  return () => {
    const now = times();
    const all = now.all - before.all;
    return all > 0 ? Math.round((100 * (all - (now.idle - before.idle))) / all) : 0;
  };
}

/** The load average of the last minute. */
export function loadOfMinute(): string {
  return (loadavg()[0] ?? 0).toFixed(1);
}

function times(): { all: number; idle: number } {
  const sums = { all: 0, idle: 0 };
  for (const { times: spent } of cpus()) {
    sums.idle += spent.idle;
    sums.all += Object.values(spent).reduce((all, ms) => all + ms, 0);
  }
  return sums;
}
