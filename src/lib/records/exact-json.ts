declare global {
  /** ECMAScript's JSON source text access, which Node has and the compiler's library does not describe yet. */
  interface JSON {
    parse(
      text: string,
      reviver: (key: string, value: unknown, context: { readonly source?: string }) => unknown,
    ): unknown;
    rawJSON(text: string): ExactNumber;
    isRawJSON(value: unknown): value is ExactNumber;
  }
}

/** A number that no JavaScript number is; `rawJSON` is its text. */
export interface ExactNumber {
  readonly rawJSON: string;
}

export function isExactNumber(value: unknown): value is ExactNumber {
  return JSON.isRawJSON(value);
}

/** A number by its JSON text: plain where a JavaScript number is written the same. */
export function exactNumber(text: string): number | ExactNumber {
  return String(Number(text)) === text ? Number(text) : JSON.rawJSON(text);
}

/**
 * Parses JSON so that `JSON.stringify` writes every number as it was: `9007199254740993`, `1.10` and `1e400` are no
 * JavaScript numbers. Such a number becomes an opaque value; all others are plain.
 * @param revive what every other value becomes; undefined takes its member out
 */
export function parseExactJson(text: string, revive: (value: unknown) => unknown = (value) => value): unknown {
  return JSON.parse(text, (_key, value: unknown, { source }: { readonly source?: string }) =>
    typeof value === 'number' && source !== undefined ? exactNumber(source) : revive(value),
  );
}
