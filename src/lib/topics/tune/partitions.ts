import { formatCount, formatSize } from '../../config/units.ts';
import { counted, nothingToDo, planCommands, type Advice, type YamlEdit } from './advice.ts';
import type { TopicMeasure } from './measure.ts';
import { partitionsEvidence, termsOf, type PartitionsQuestion, type Term } from './partition-terms.ts';
import { confidenceOf, peakOf, type Peak } from './peak.ts';

/** More than that is no number to write down: something else is the bottleneck. */
const mostPartitions = 1000;

/**
 * partitions = max(peak in ÷ what a partition carries, peak × headroom ÷ what a consumer reads, consumers), of what is
 * known of these. Partitions cannot be taken away, so that only what is shown to be needed is advised.
 */
export function partitionsAdvice(question: PartitionsQuestion): Advice {
  const { spec, measure } = question;
  const peak = peakOf(measure);
  const terms = termsOf(question, peak);
  const needed = Math.max(0, ...terms.map(({ needs }) => needs ?? 0));
  const count = Math.max(spec.partitions.count, measure.partitions);
  const common = {
    rule: 'partitions',
    evidence: partitionsEvidence(question, peak, terms),
    ...nothingToDo,
    ...confidenceOf(measure),
  } as const;
  if (needed > mostPartitions) {
    const summary = `${formatCount(needed)} partitions would be needed: make the consumers faster instead`;
    return { ...common, verdict: 'notice', summary };
  }
  if (needed > count) {
    return {
      ...common,
      verdict: 'change',
      summary: `${count} → ${needed}: ${terms.find(({ needs }) => needs === needed)?.reason ?? ''}`,
      // Members that sit idle are counted, not sampled.
      ...(peak === null ? { confidence: 'certain', confidenceReason: null } : {}),
      costs: costsOf(question, needed),
      edits: raise(question, needed),
      commands: planCommands(spec.name),
    };
  }
  if (peak === null) {
    return { ...common, verdict: 'unknown', summary: `${count}: too idle to judge` };
  }
  const enough = enoughOf(question, peak, terms);
  if (enough !== null && enough * 2 <= measure.partitions) {
    const summary = `over-partitioned: ${measure.partitions} where ${enough} would do. Kafka cannot take partitions away; smaller batches and more files are what it costs`;
    return { ...common, verdict: 'notice', summary };
  }
  return { ...common, ...sufficing(measure, count, peak) };
}

function sufficing(
  { readers }: TopicMeasure,
  count: number,
  { recordsPerSec, bytesPerSec }: Peak,
): Pick<Advice, 'verdict' | 'summary'> & Partial<Pick<Advice, 'confidence' | 'confidenceReason'>> {
  const carried = bytesPerSec === null ? `${formatCount(recordsPerSec)} records/s` : `${formatSize(bytesPerSec)}/s`;
  const silent = readers.filter(({ recordsPerSec: reads, members }) => !(reads ?? 0) || !(members ?? 0));
  return silent.length === 0
    ? { verdict: 'keep', summary: `${count} carried the peak of ${carried}` }
    : {
        verdict: 'unknown',
        summary: `${count} took in the peak of ${carried}; whether they suffice to read it is not known`,
        confidence: 'none',
        confidenceReason: `role ${silent.map(({ role }) => role).join(', ')} did not read during the watch, or its members came and went`,
      };
}

/** The most that could be needed; null where some of it is not known. */
function enoughOf({ measure }: PartitionsQuestion, peak: Peak, terms: readonly Term[]): number | null {
  const bounds = terms.map(({ atMost }) => atMost);
  return peak.bytesPerSec === null || bounds.includes(null) || measure.readers.length === 0
    ? null
    : Math.max(1, ...bounds.map((bound) => bound ?? 0));
}

function costsOf({ spec, measure }: PartitionsQuestion, needed: number): readonly string[] {
  const groups = measure.readers.map(({ group }) => group);
  const added = (needed - measure.partitions) * spec.replicationFactor;
  return [
    ...(spec.keyed
      ? [
          'keyed topic: key → partition mapping changes for new records; records of a key that are still unread may be applied out of order',
        ]
      : []),
    ...(groups.length === 0 ? [] : [`a rebalance of ${groups.join(', ')}`]),
    `${counted(Math.max(0, added), 'more replica')} on the brokers`,
    'cannot be taken back',
  ];
}

/** In the terms of the declared basis. */
function raise({ spec, declared, measure, ...question }: PartitionsQuestion, needed: number): readonly YamlEdit[] {
  const path = ['topics', spec.name, 'partitions'];
  if (!('basis' in declared)) {
    return [{ path: [...path, 'count'], from: declared.count, to: needed }];
  }
  switch (declared.basis) {
    case 'consumers':
      return [{ path: [...path, 'consumers'], from: declared.consumers, to: needed }];
    case 'throughput': {
      const perPartition = question.perPartitionBytesPerSec ?? declared.perPartition;
      const wanted = Math.max((peakOf(measure)?.bytesPerSec ?? 0) * question.headroom, declared.target);
      const edits = [
        ['target', declared.target, targetOf(wanted, needed, perPartition)],
        ['perPartition', declared.perPartition, perPartition],
      ] as const;
      return edits
        .filter(([, from, to]) => from !== to)
        .map(([key, from, to]) => ({ path: [...path, key], from: rateText(from), to: rateText(to) }));
    }
    case 'sink':
      return [{ path: [...path, 'count'], from: declared.count, to: needed }];
  }
}

/** In whole megabytes, so that the file stays readable, where the count that follows from it is still the one needed. */
function targetOf(wanted: number, needed: number, perPartition: number): number {
  const most = needed * perPartition;
  const whole = Math.ceil(Math.min(wanted, most) / 1_000_000) * 1_000_000;
  return whole > most - perPartition && whole <= most ? whole : most;
}

/** Exact, unlike `formatSize`: it is read back. */
function rateText(bytesPerSec: number): string {
  const [size, unit] = [[1_000_000, 'MB'] as const, [1000, 'kB'] as const, [1, 'B'] as const].find(
    ([each]) => bytesPerSec % each === 0,
  ) ?? [1, 'B'];
  return `${bytesPerSec / size}${unit}/s`;
}
