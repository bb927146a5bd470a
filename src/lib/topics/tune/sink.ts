import { formatCount, formatDuration, formatSize } from '../../config/units.ts';
import type { BigQueryConfig } from '../../config/schema.ts';
import { counted, nothingToDo, type Advice, type Evidence } from './advice.ts';
import { bytesPerRecord, type TopicMeasure } from './measure.ts';
import { confidenceOf } from './peak.ts';

export interface SinkQuestion {
  readonly measure: TopicMeasure;
  /** When a batch of one partition closes: whichever comes first. `maxWait` in ms. */
  readonly batch: { readonly maxRows: number; readonly maxBytes: number; readonly maxWait: number };
  readonly write: BigQueryConfig['write'];
  /** Below so much a request of the sink costs more than it carries. */
  readonly fullRequestBytes: number;
}

/** Nobody wants analytics to be later than that for the sake of a request. */
const longestWaitMs = 60_000;
/** What kpipe.yaml takes for maxRows. */
const mostRows = 1_000_000;

/**
 * Whether the sink's batches fill its requests. Each partition is written by itself (storage), so the rate of a partition
 * decides: more partitions mean smaller batches, a longer wait larger ones.
 */
export function sinkAdvice(question: SinkQuestion): Advice {
  const { measure, batch, write, fullRequestBytes } = question;
  const common = { rule: 'sink', ...nothingToDo } as const;
  const flow = flowOf(measure);
  const evidence = evidenceOf(question, flow);
  if (flow === null) {
    const trust = confidenceOf(measure);
    const confidenceReason = trust.confidenceReason ?? 'no batch was seen, so that a record’s size is not known';
    return { ...common, verdict: 'unknown', summary: 'not judged', evidence, confidence: 'none', confidenceReason };
  }
  const trust = confidenceOf(measure);
  if (write === 'load') {
    const summary = 'load jobs gather all partitions of a process: the count of partitions does not matter to them';
    return { ...common, verdict: 'keep', summary, evidence, ...trust };
  }
  const { rows, bytes } = batchOf(flow, batch);
  const seen = `a batch of a partition closes with about ${formatCount(rows)} rows, ${formatSize(bytes)}`;
  const full = formatSize(fullRequestBytes);
  if (bytes >= fullRequestBytes) {
    return { ...common, verdict: 'keep', summary: `${seen}: requests of ${full} are filled`, evidence, ...trust };
  }
  const waitMs = Math.ceil(fullRequestBytes / flow.bytesPerSec) * 1000;
  const limited = Math.min(batch.maxBytes, batch.maxRows * flow.bytesPerRecord) < fullRequestBytes;
  if (limited) {
    return limitedAdvice(question, { ...common, evidence, ...trust }, flow);
  }
  if (waitMs > longestWaitMs) {
    const suits = Math.floor((flow.bytesPerSec * measure.partitions * longestWaitMs) / 1000 / fullRequestBytes);
    const fewer = `${suits < 1 ? 'not even a single partition' : counted(suits, 'partition')} would fill them within ${formatDuration(longestWaitMs)}`;
    const summary = `${seen}: at this rate ${full} take ${formatDuration(waitMs)}, so that a longer wait only makes it later; ${fewer}`;
    return { ...common, verdict: 'notice', summary, evidence, ...trust };
  }
  return {
    ...common,
    verdict: 'change',
    summary: `${seen}: ${formatDuration(waitMs)} of waiting fill a request of ${full}`,
    evidence,
    ...trust,
    costs: [
      `rows are in BigQuery up to ${formatDuration(waitMs)} after they came, now ${formatDuration(batch.maxWait)}`,
      ...roleCosts,
    ],
    edits: [
      {
        path: ['roles', 'analytics', 'batch', 'maxWait'],
        from: formatDuration(batch.maxWait),
        to: formatDuration(waitMs),
      },
    ],
  };
}

const roleCosts = [
  'more memory of the role: a larger batch for each partition',
  'a restart of kpipe consume analytics, which reads kpipe.yaml when it starts',
];

/** Rows or bytes close the batches, not time. */
function limitedAdvice(
  { batch, fullRequestBytes }: SinkQuestion,
  common: Pick<
    Advice,
    'rule' | 'evidence' | 'confidence' | 'confidenceReason' | 'costs' | 'edits' | 'producerSettings' | 'commands'
  >,
  flow: Flow,
): Advice {
  const isRows = batch.maxRows * flow.bytesPerRecord < fullRequestBytes;
  const rows = Math.min(mostRows, Math.ceil(fullRequestBytes / flow.bytesPerRecord));
  const path = ['roles', 'analytics', 'batch'];
  return {
    ...common,
    verdict: 'change',
    summary: isRows
      ? `maxRows ${formatCount(batch.maxRows)} are ${formatSize(batch.maxRows * flow.bytesPerRecord)}: ${formatCount(rows)} fill a request of ${formatSize(fullRequestBytes)}`
      : `maxBytes ${formatSize(batch.maxBytes)} end batches below a request of ${formatSize(fullRequestBytes)}`,
    costs: roleCosts,
    edits: [
      ...(isRows ? [{ path: [...path, 'maxRows'], from: batch.maxRows, to: rows }] : []),
      ...(batch.maxBytes < fullRequestBytes
        ? [{ path: [...path, 'maxBytes'], from: batch.maxBytes, to: fullRequestBytes }]
        : []),
    ],
  };
}

interface Flow {
  /** Of one partition, before compression. */
  readonly recordsPerSec: number;
  readonly bytesPerSec: number;
  readonly bytesPerRecord: number;
  readonly how: string;
}

/** By the mean, as a partition has it when the keys are even. */
function flowOf(measure: TopicMeasure): Flow | null {
  const { history, batches, partitions } = measure;
  const now = positive(measure.recordsPerSec);
  const recordsPerSec = now ?? positive(history?.meanRecordsPerSec ?? null);
  const stored = bytesPerRecord(batches);
  if (recordsPerSec === null || batches === null || stored === null || partitions < 1) {
    return null;
  }
  const spanMs = now === null ? (history?.spanMs ?? 0) : measure.watchedMs;
  const how = `the mean of ${now === null ? 'the last ' : ''}${formatDuration(spanMs)}, over ${counted(partitions, 'partition')}`;
  const perBatch = batches.unpackedBytesPerBatch;
  const perRecord = perBatch === null ? stored : (perBatch * batches.batches) / batches.records;
  const share = recordsPerSec / partitions;
  return { recordsPerSec: share, bytesPerSec: share * perRecord, bytesPerRecord: perRecord, how };
}

function batchOf(flow: Flow, batch: SinkQuestion['batch']): { readonly rows: number; readonly bytes: number } {
  const byTime = (flow.recordsPerSec * batch.maxWait) / 1000;
  const rows = Math.max(1, Math.min(batch.maxRows, batch.maxBytes / flow.bytesPerRecord, byTime));
  return { rows, bytes: rows * flow.bytesPerRecord };
}

function positive(value: number | null): number | null {
  return value !== null && value > 0 ? value : null;
}

function evidenceOf({ batch, fullRequestBytes }: SinkQuestion, flow: Flow | null): readonly Evidence[] {
  return [
    {
      what: 'a partition takes',
      value: flow?.recordsPerSec ?? null,
      unit: 'records/s',
      how: flow?.how ?? 'nothing came in, or no batch was seen',
    },
    {
      what: 'a record',
      value: flow?.bytesPerRecord ?? null,
      unit: 'B/record',
      how:
        flow === null
          ? 'no batch was seen'
          : 'before compression, from the batches; a row of BigQuery is about as large',
    },
    { what: 'a batch closes after', value: batch.maxWait, unit: 'ms', how: 'roles.analytics.batch.maxWait' },
    { what: 'a batch closes at', value: batch.maxRows, unit: 'records', how: 'roles.analytics.batch.maxRows' },
    {
      what: 'a full request',
      value: fullRequestBytes,
      unit: 'B',
      how: 'what the Storage Write API wants at least for its best throughput',
    },
  ];
}
