import { formatCount, formatSize } from '../../config/units.ts';
import type { TopicConfig } from '../../config/schema.ts';
import type { TopicSpec } from '../spec.ts';
import { counted, type Evidence } from './advice.ts';
import type { ReaderMeasure, TopicMeasure } from './measure.ts';
import type { Peak } from './peak.ts';

export interface PartitionsQuestion {
  readonly spec: TopicSpec;
  readonly declared: TopicConfig['partitions'];
  readonly measure: TopicMeasure;
  /** What the consumers should be able to take, over the peak: 1.5 is half as much again. */
  readonly headroom: number;
  /** What a partition is known to carry, from a benchmark; null: nobody measured it. */
  readonly perPartitionBytesPerSec: number | null;
}

/** One of the three numbers that a partition count follows from. */
export interface Term {
  readonly what: string;
  /** null: not known. */
  readonly needs: number | null;
  /** The most that could be needed, with headroom; null: not known. */
  readonly atMost: number | null;
  readonly reason: string;
}

export function termsOf(question: PartitionsQuestion, peak: Peak | null): readonly Term[] {
  const readers = question.measure.readers.map((reader) => readerTerm(reader, question, peak));
  return [inflowTerm(question, peak), ...readers, consumersTerm(question)];
}

/** Peak in ÷ what a partition carries. */
function inflowTerm(question: PartitionsQuestion, peak: Peak | null): Term {
  const inBytes = peak?.bytesPerSec ?? null;
  const stated = statedCapacity(question);
  const proven = positive(question.measure.busiestPartitionBytesPerSec);
  const capacity = stated === null ? null : Math.max(stated, proven ?? 0);
  return {
    what: 'for what comes in',
    needs: inBytes === null || capacity === null ? null : divided(inBytes, capacity),
    atMost: inBytes === null ? null : divided(inBytes * question.headroom, capacity ?? proven ?? 0),
    reason: `${formatSize(inBytes ?? 0)}/s come in, and a partition carries ${formatSize(capacity ?? 0)}/s`,
  };
}

/** Peak × headroom ÷ what a consumer reads. One that kept up can do as much again: that bounds what could be needed. */
function readerTerm(
  { role, members, recordsPerSec, saturated }: ReaderMeasure,
  { headroom }: PartitionsQuestion,
  peak: Peak | null,
): Term {
  const each = members === null || members === 0 ? null : positive((recordsPerSec ?? 0) / members);
  const bound = peak === null || each === null ? null : divided(peak.recordsPerSec * headroom, each);
  return {
    what: `for role ${role}`,
    needs: saturated ? bound : null,
    atMost: bound,
    reason: `role ${role} reads ${formatCount(each ?? 0)} records/s a consumer, and ${formatCount(peak?.recordsPerSec ?? 0)} × ${headroom} come in`,
  };
}

function consumersTerm({ declared, measure }: PartitionsQuestion): Term {
  const consumers = Math.max(
    'basis' in declared && declared.basis === 'consumers' ? declared.consumers : 0,
    ...measure.readers.map(({ members }) => members ?? 0),
  );
  return {
    what: 'for the consumers',
    needs: consumers === 0 ? null : consumers,
    atMost: Math.max(1, consumers),
    reason: `${counted(consumers, 'consumer')} read it: those beyond the partitions have nothing to do`,
  };
}

/** By a benchmark, or as the file declares it; null: nobody says. */
function statedCapacity({ declared, perPartitionBytesPerSec }: PartitionsQuestion): number | null {
  const isDeclared = 'basis' in declared && declared.basis === 'throughput';
  return perPartitionBytesPerSec ?? (isDeclared ? declared.perPartition : null);
}

function positive(value: number | null): number | null {
  return value !== null && Number.isFinite(value) && value > 0 ? value : null;
}

/** Rounded up; a quotient that floats leave just above a whole number is that number. */
function divided(amount: number, by: number): number | null {
  return by > 0 ? Math.max(1, Math.ceil(Number((amount / by).toFixed(6)))) : null;
}

export function partitionsEvidence(
  question: PartitionsQuestion,
  peak: Peak | null,
  terms: readonly Term[],
): readonly Evidence[] {
  const { measure, spec, perPartitionBytesPerSec } = question;
  const stated = statedCapacity(question);
  const statedHow = perPartitionBytesPerSec === null ? 'declared as perPartition' : 'given by --per-partition';
  const how = peak?.how ?? 'nothing came in';
  return [
    { what: 'peak in', value: peak?.recordsPerSec ?? null, unit: 'records/s', how },
    {
      what: 'peak in',
      value: peak?.bytesPerSec ?? null,
      unit: 'B/s',
      how: peak?.bytesPerSec === null ? 'no batch was seen' : how,
    },
    {
      what: 'a partition carries',
      value: stated,
      unit: 'B/s',
      how: stated === null ? 'not measured: give what a benchmark showed as --per-partition' : statedHow,
    },
    {
      what: 'a partition carried',
      value: positive(measure.busiestPartitionBytesPerSec),
      unit: 'B/s',
      how: 'the busiest partition of the watch; it may carry more',
    },
    ...measure.readers.flatMap(readerEvidence),
    ...terms.map(({ what, needs }): Evidence => ({
      what: `needed ${what}`,
      value: needs,
      unit: 'partitions',
      how: needs === null ? 'not known' : 'by the numbers above',
    })),
    { what: 'declared', value: spec.partitions.count, unit: 'partitions', how: `basis: ${spec.partitions.basis}` },
    { what: 'there are', value: measure.partitions, unit: 'partitions', how: 'the cluster' },
  ];
}

function readerEvidence(reader: ReaderMeasure): readonly Evidence[] {
  const { role, group, members, recordsPerSec } = reader;
  const how = members === null ? 'the members came and went, or are not known' : `members of group ${group}`;
  return [
    { what: `consumers of role ${role}`, value: members, unit: 'consumers', how },
    { what: `role ${role} reads`, value: recordsPerSec, unit: 'records/s', how: readingHow(reader) },
  ];
}

function readingHow({ recordsPerSec, saturated, leastLagRecords }: ReaderMeasure): string {
  if (recordsPerSec === null) {
    return 'it has no position, or went back';
  }
  return saturated
    ? `never fewer than ${formatCount(leastLagRecords ?? 0)} records waited: this is what it can do`
    : 'it was not held up: it may read more';
}
