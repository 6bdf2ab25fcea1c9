/** A source of chance that a seed repeats (sfc32, seeded by splitmix32): a run is a function of its seed. */
export class Random {
  readonly #state: Uint32Array;

  constructor(seed: number) {
    let mixed = seed | 0;
    this.#state = Uint32Array.from({ length: 4 }, () => {
      mixed = (mixed + 0x9e3779b9) | 0;
      let part = mixed ^ (mixed >>> 16);
      part = Math.imul(part, 0x21f0aaad);
      part ^= part >>> 15;
      part = Math.imul(part, 0x735a2d97);
      return part ^ (part >>> 15);
    });
    for (let i = 0; i < 12; i += 1) this.word();
  }

  /** 32 bits. */
  word(): number {
    const [a = 0, b = 0, c = 0, count = 0] = this.#state;
    const result = (a + b + count) | 0;
    this.#state[3] = count + 1;
    this.#state[0] = b ^ (b >>> 9);
    this.#state[1] = c + (c << 3);
    this.#state[2] = ((c << 21) | (c >>> 11)) + result;
    return result >>> 0;
  }

  /** From 0 to below 1. */
  next(): number {
    return this.word() / 2 ** 32;
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  /** A whole number, both ends included. */
  between(least: number, most: number): number {
    return least + Math.floor(this.next() * (most - least + 1));
  }

  pick<T>(from: readonly T[]): T {
    if (from.length === 0) throw new RangeError("nothing to pick from");
    return from[Math.floor(this.next() * from.length)] as T;
  }
}
