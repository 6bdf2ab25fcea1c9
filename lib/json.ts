const BYTE_ORDER_MARK = "\ufeff";

/**
 * Parses a JSON text from another system. Some systems write a byte order mark before it, which a parser may ignore
 * (RFC 8259, section 8.1).
 * @throws SyntaxError
 */
export function parseForeignJson(text: string): unknown {
  return JSON.parse(text.startsWith(BYTE_ORDER_MARK) ? text.slice(BYTE_ORDER_MARK.length) : text);
}
