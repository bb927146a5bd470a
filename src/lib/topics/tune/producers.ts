import { formatCount, formatDuration, formatSize } from '../../config/units.ts';
import { nothingToDo, type Advice, type Evidence } from './advice.ts';
import type { BatchSample } from './batches.ts';
import { bytesPerRecord, type TopicMeasure } from './measure.ts';
import { confidenceOf } from './peak.ts';

/** Fewer batches a second than these cost nobody anything. */
const fewBatchesPerSec = 50;
/** Kafka's default for batch.size, in bytes before compression. */
const defaultBatchBytes = 16_384;
const largerBatchBytes = 65_536;
const lingersMs = [5, 10, 20, 50, 100] as const;
/** A batch that gathers so many times more is worth the wait. */
const worthwhile = 4;
/** Compression is advised from this much on. */
const leastSaved = 0.2;

/** batch.size, linger.ms and compression.type for the topic's producers, from the batches that they sent. */
export function producersAdvice(measure: TopicMeasure): Advice {
  const { batches } = measure;
  const common = { rule: 'producers', ...nothingToDo } as const;
  if (batches === null || batches.batches === 0 || batches.records <= 0) {
    const confidenceReason = 'the log holds no batch to look at';
    return {
      ...common,
      verdict: 'unknown',
      summary: 'no batches seen',
      evidence: [],
      confidence: 'none',
      confidenceReason,
    };
  }
  const flow = flowOf(measure, batches);
  const parts = [compression(batches), flow === null ? null : batching(flow, batches)].filter((part) => part !== null);
  const evidence = evidenceOf(batches, flow);
  const seen = `${records(batches.records / batches.batches)}, ${formatSize(batches.bytes / batches.batches)} a batch`;
  if (parts.length > 0) {
    return {
      ...common,
      verdict: 'change',
      summary: parts.map(({ why }) => why).join('; '),
      evidence,
      ...(batches.duringWatch ? confidenceOf(measure) : notNow),
      costs: parts.map(({ cost }) => cost),
      producerSettings: Object.fromEntries(parts.flatMap(({ settings }) => Object.entries(settings))),
    };
  }
  if (flow === null) {
    return { ...common, verdict: 'unknown', summary: `${seen}; nothing came in during the watch`, evidence, ...notNow };
  }
  const summary = flow.batchesPerSec < fewBatchesPerSec ? `${seen}: small or not, they are few` : `${seen}: fine`;
  return { ...common, verdict: 'keep', summary, evidence, ...confidenceOf(measure) };
}

const notNow = {
  confidence: 'low',
  confidenceReason: 'nothing came in during the watch: these are the newest batches of the log',
} as const;

interface Flow {
  readonly recordsPerBatch: number;
  readonly bytesPerBatch: number;
  readonly batchesPerSec: number;
  /** Of one producer to one partition, as stored. */
  readonly laneRecordsPerSec: number;
  readonly laneBytesPerSec: number;
}

function flowOf(measure: TopicMeasure, batches: BatchSample): Flow | null {
  const { recordsPerSec } = measure;
  const perRecord = bytesPerRecord(batches);
  if (recordsPerSec === null || recordsPerSec <= 0 || perRecord === null || !batches.duringWatch) {
    return null;
  }
  const recordsPerBatch = batches.records / batches.batches;
  // Who has no id is taken for one producer: more of them would gather less each.
  const lanes = Math.max(1, batches.partitions) * Math.max(1, batches.producers ?? 1);
  return {
    recordsPerBatch,
    bytesPerBatch: batches.bytes / batches.batches,
    batchesPerSec: recordsPerSec / recordsPerBatch,
    laneRecordsPerSec: recordsPerSec / lanes,
    laneBytesPerSec: (recordsPerSec * perRecord) / lanes,
  };
}

interface Part {
  readonly why: string;
  readonly settings: Readonly<Record<string, string>>;
  readonly cost: string;
}

function compression({ codecs, batches, packed }: BatchSample): Part | null {
  const plain = codecs['none'] ?? 0;
  if (packed === null || packed.fromBytes <= 0 || plain * 2 <= batches) {
    return null;
  }
  const saved = 1 - packed.toBytes / packed.fromBytes;
  return saved < leastSaved
    ? null
    : {
        why: `${percent(plain / batches)} of the batches are not compressed: ${packed.codec} takes ${percent(saved)} off them`,
        settings: { 'compression.type': packed.codec },
        cost: 'CPU of producers and consumers; brokers keep the batches as they come',
      };
}

function batching(flow: Flow, batches: BatchSample): Part | null {
  if (flow.batchesPerSec < fewBatchesPerSec) {
    return null;
  }
  const unpacked = batches.unpackedBytesPerBatch;
  if (unpacked !== null && unpacked >= defaultBatchBytes * 0.8 && unpacked <= defaultBatchBytes * 1.05) {
    return {
      why: `batches end full at ${formatSize(unpacked)} before compression, about Kafka's default of ${formatSize(defaultBatchBytes)}`,
      settings: { 'batch.size': String(largerBatchBytes) },
      cost: `up to ${formatSize(largerBatchBytes)} of each producer's memory for each partition`,
    };
  }
  if (flow.bytesPerBatch >= defaultBatchBytes * 0.8) {
    return null;
  }
  const linger = lingersMs.find((ms) => {
    const gathered = (flow.laneRecordsPerSec * ms) / 1000;
    const isFull = (flow.laneBytesPerSec * ms) / 1000 >= defaultBatchBytes;
    return gathered >= flow.recordsPerBatch * worthwhile || (isFull && gathered > flow.recordsPerBatch);
  });
  if (linger === undefined) {
    return null;
  }
  const gathered = Math.round((flow.laneRecordsPerSec * linger) / 1000);
  return {
    why: `batches are small (${records(flow.recordsPerBatch)}) and many (${formatCount(flow.batchesPerSec)}/s): ${linger} ms gather about ${formatCount(gathered)}`,
    settings: { 'linger.ms': String(linger) },
    cost: `up to ${formatDuration(linger)} more until a record is there`,
  };
}

function evidenceOf(batches: BatchSample, flow: Flow | null): readonly Evidence[] {
  const where = `${batches.batches} batches of ${batches.partitions} partitions${batches.duringWatch ? '' : ', from before the watch'}`;
  const codecs = Object.entries(batches.codecs).map(([codec, count]) => `${codec} ${count}`);
  return [
    {
      what: 'records in a batch',
      value: batches.records / batches.batches,
      unit: 'records/batch',
      how: `the headers of ${where}`,
    },
    {
      what: 'bytes of a batch',
      value: batches.bytes / batches.batches,
      unit: 'B/batch',
      how: `as stored; codecs: ${codecs.join(', ')}`,
    },
    {
      what: 'before compression',
      value: batches.unpackedBytesPerBatch,
      unit: 'B/batch',
      how: batches.unpackedBytesPerBatch === null ? 'none could be unpacked' : 'unpacked here',
    },
    { what: 'largest batch', value: batches.largestBytes, unit: 'B', how: 'as stored' },
    {
      what: 'batches',
      value: flow?.batchesPerSec ?? null,
      unit: 'batches/s',
      how: flow === null ? 'nothing came in during the watch' : 'records a second by records in a batch',
    },
    ...(batches.packed === null
      ? []
      : [
          {
            what: `size with ${batches.packed.codec}`,
            value: (batches.packed.toBytes / batches.packed.fromBytes) * 100,
            unit: 'percent',
            how: `measured here on ${formatSize(batches.packed.fromBytes)} of uncompressed batches`,
          } as const,
        ]),
  ];
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}

function records(count: number): string {
  return `${formatCount(count)} ${count === 1 ? 'record' : 'records'}`;
}
