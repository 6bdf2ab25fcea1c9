const TEXT_MAX_LENGTH = 200;

export type Fields = Readonly<Record<string, unknown>>;

/** The fields of whatever it is; none of what is no object. */
export function fieldsOf(value: unknown): Fields {
  return typeof value === "object" && value !== null ? (value as Fields) : {};
}

/** What an id can look like: printable, without spaces, of a length that the database takes. */
export function isText(value: unknown): value is string {
  return typeof value === "string" && /^[\x21-\x7e]+$/.test(value) && value.length <= TEXT_MAX_LENGTH;
}
