import type { Severity } from './severity.ts';
import type { Timestamp } from './timestamp.ts';

/** One line of a log in OpenTelemetry's data model, ready for the table. */
export interface LogLine {
  /** null: the line has no time of its own, its observed time stands in. */
  readonly time: Timestamp | null;
  readonly severity: Severity;
  readonly service: string | null;
  readonly traceId: string | null;
  readonly spanId: string | null;
  readonly body: string;
  /** JSON text of an object. */
  readonly attributes: Buffer;
  readonly resource: Buffer;
  /** The body is plain text that no format was recognised in. */
  readonly unstructured: boolean;
  /** Characters that PostgreSQL cannot store became U+FFFD. */
  readonly sanitised: boolean;
}

export const emptyObject = Buffer.from('{}');
