import type { OutgoingRecord, SourceRecord } from '../ports.ts';

/** Probe events are known by this type, and the records by the header. */
export const probeType = 'kpipe.probe';
const probeHeader = 'kpipe-probe';

/**
 * A probe: a small CloudEvent that nobody's projection wants. Ids repeat from run to run, so a role keeps each as one row
 * and takes the later ones for duplicates: probing fills no table.
 */
export function probeRecord(run: string, index: number, partition: number, nowMs: number): OutgoingRecord {
  const id = `probe-${index}`;
  const event = {
    specversion: '1.0',
    id,
    source: 'kpipe',
    type: probeType,
    time: new Date(nowMs).toISOString(),
    data: {},
  };
  return {
    key: Buffer.from(id),
    value: Buffer.from(JSON.stringify(event)),
    headers: [
      ['content-type', Buffer.from('application/cloudevents+json; charset=utf-8')],
      [probeHeader, Buffer.from(`${run}/${index}`)],
    ],
    partition,
  };
}

/** Which probe of this run a record is; null: none. */
export function probeIndex(run: string, { headers }: Pick<SourceRecord, 'headers'>): number | null {
  const value = headers.findLast(([name]) => name === probeHeader)?.[1]?.toString();
  return value !== undefined && value.startsWith(`${run}/`) ? Number(value.slice(run.length + 1)) : null;
}
