/** Values grouped by a key. A key without values takes no memory. */
export class SetsByKey<K, V> {
  readonly #sets = new Map<K, Set<V>>();

  /** The number of keys with values. */
  get keys(): number {
    return this.#sets.size;
  }

  /** The values of a key. Empty for a key without values. */
  of(key: K): ReadonlySet<V> {
    return this.#sets.get(key) ?? new Set();
  }

  add(key: K, value: V): void {
    const values = this.#sets.get(key);
    if (values) values.add(value);
    else this.#sets.set(key, new Set([value]));
  }

  delete(key: K, value: V): void {
    const values = this.#sets.get(key);
    if (values?.delete(value) && values.size === 0) this.#sets.delete(key);
  }
}
