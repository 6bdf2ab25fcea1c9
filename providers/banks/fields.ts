const TEXT_MAX_LENGTH = 200;

export type Fields = Readonly<Record<string, unknown>>;

/** The fields of an object; an empty object for every other value. */
export function fieldsOf(value: unknown): Fields {
  return typeof value === "object" && value !== null ? (value as Fields) : {};
}

/** Whether the value can be an id: printable ASCII without spaces, short enough for the database. */
export function isText(value: unknown): value is string {
  return typeof value === "string" && /^[\x21-\x7e]+$/.test(value) && value.length <= TEXT_MAX_LENGTH;
}
