/** ECMAScript's JSON source text access, which Node has and the compiler's library does not describe yet. */
interface JsonWithSource {
  parse(
    text: string,
    reviver: (key: string, value: unknown, context: { readonly source?: string }) => unknown,
  ): unknown;
  rawJSON(text: string): unknown;
}

/**
 * Parses JSON so that `JSON.stringify` writes every number as it was: `9007199254740993`, `1.10` and `1e400` are no
 * JavaScript numbers. Such a number becomes an opaque value; all others are plain.
 */
export function parseExactJson(text: string): unknown {
  const json: JsonWithSource = JSON as unknown as JsonWithSource;
  return json.parse(text, (_key, value, { source }) =>
    typeof value === 'number' && source !== undefined && String(value) !== source ? json.rawJSON(source) : value,
  );
}
