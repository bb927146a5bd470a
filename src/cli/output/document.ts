import { stringify } from 'yaml';

export type OutputFormat = 'table' | 'json' | 'yaml' | 'ndjson';

/** bigint becomes text (offsets and LSNs pass 2^53), a Map an object. */
function plain(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') {
    return value.toString();
  }
  return value instanceof Map ? Object.fromEntries(value) : value;
}

/** One document, as scripts read it. */
export function renderDocument(result: unknown, format: Exclude<OutputFormat, 'table'>): string {
  switch (format) {
    case 'json':
      return JSON.stringify(result, plain, 2);
    case 'ndjson':
      return Array.isArray(result)
        ? result.map((item) => JSON.stringify(item, plain)).join('\n')
        : JSON.stringify(result, plain);
    case 'yaml':
      return stringify(JSON.parse(JSON.stringify(result, plain))).trimEnd();
  }
}
