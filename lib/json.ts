const BYTE_ORDER_MARK = "\ufeff";

/**
 * The value of a JSON text from another system. Some writers put a byte order mark in front of it, which a reader
 * may skip (RFC 8259, section 8.1).
 * @throws SyntaxError
 */
export function parseForeignJson(text: string): unknown {
  return JSON.parse(text.startsWith(BYTE_ORDER_MARK) ? text.slice(BYTE_ORDER_MARK.length) : text);
}
