/** Whether a change names nothing: it leaves the resource, its version and its history as they are. */
export function isEmptyChange(change: object): boolean {
  return Object.values(change).every((value) => value === undefined);
}
