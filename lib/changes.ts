/** Whether a change has no field. It then changes neither the resource nor its version or history. */
export function isEmptyChange(change: object): boolean {
  return Object.values(change).every((value) => value === undefined);
}
