import { once } from 'node:events';

import type { SourceRecord, TopicPartition } from '../lib/ports.ts';
import { tailRecord, type TailRecord } from '../lib/tail/document.ts';
import type { RecordFormat } from '../lib/tail/record-format.ts';
import { renderDocument, type OutputFormat } from './output/document.ts';
import { escapeControls } from './output/escape.ts';
import { paletteFor } from './output/text.ts';
import { recordLines } from './views/tail.ts';

/** Where records go one by one, as fast as they are taken. */
export interface RecordOutput {
  /** Resolves when there is room for more. */
  write(at: TopicPartition, record: SourceRecord): Promise<void>;
  /** What a document gathers. */
  readonly records: readonly TailRecord[];
  /** Aborts when nobody reads any more: `kpipe tail … | head`. */
  readonly closed: AbortSignal;
}

/** Prints records as people read them, as ndjson, or by a template; or gathers them for one document. */
export function openRecordOutput(
  stream: NodeJS.WriteStream,
  form: OutputFormat | 'document' | RecordFormat,
): RecordOutput {
  const records: TailRecord[] = [];
  const closed = new AbortController();
  stream.once('error', () => closed.abort()).once('close', () => closed.abort());
  const render = rendererOf(stream, form);
  return {
    records,
    closed: closed.signal,
    write: async (at, record) => {
      if (form === 'document') {
        records.push(tailRecord(at, record));
      } else if (!closed.signal.aborted && !stream.write(render(at, record)) && !closed.signal.aborted) {
        await once(stream, 'drain', { signal: closed.signal }).catch(() => undefined);
      }
    },
  };
}

type Renderer = (at: TopicPartition, record: SourceRecord) => string | Buffer;

function rendererOf(stream: NodeJS.WriteStream, form: OutputFormat | 'document' | RecordFormat): Renderer {
  if (typeof form === 'function') {
    // A pipe gets the bytes; a terminal must not be driven by them.
    return stream.isTTY ? (at, record) => form(at, record, escaped) : form;
  }
  if (form === 'ndjson') {
    return (at, record) => `${renderDocument(tailRecord(at, record), 'ndjson')}\n`;
  }
  const palette = paletteFor('stdout', process.env);
  return (at, record) =>
    recordLines(at, record)
      .map((line) => `${palette.paint(line)}\n`)
      .join('');
}

function escaped(bytes: Buffer): Buffer {
  return Buffer.from(escapeControls(bytes.toString()));
}
