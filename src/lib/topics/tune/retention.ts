import { formatDuration, formatSize } from '../../config/units.ts';
import type { TopicConfig } from '../../config/schema.ts';
import type { TopicSpec } from '../spec.ts';
import { nothingToDo, planCommands, type Advice, type Evidence, type YamlEdit } from './advice.ts';
import { bytesPerRecord, type TopicMeasure } from './measure.ts';
import { confidenceOf } from './peak.ts';

/** The brokers' disks together. */
export interface DiskRoom {
  readonly totalBytes: number;
  readonly usableBytes: number;
  /** How full they may become, of 100. */
  readonly usedPercent: number;
  /** Until the first of them is full, by the growth of the watch; null: not at this growth, or not known. */
  readonly fullInMs: number | null;
  /** Whose, or why it is not known. */
  readonly fullHow: string;
}

export interface RetentionQuestion {
  readonly spec: TopicSpec;
  readonly declared: Pick<TopicConfig, 'retention' | 'config'>;
  readonly measure: TopicMeasure;
  /** null: the brokers do not tell. */
  readonly disk: DiskRoom | null;
}

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

/** What the retention will hold, in bytes on all replicas, against the room that the disks leave. */
export function retentionAdvice(question: RetentionQuestion): Advice {
  const { spec, measure, disk } = question;
  const common = { rule: 'retention', ...nothingToDo } as const;
  const rate = meanRate(measure);
  const evidence = evidenceOf(question, rate);
  const trust = confidenceOf(measure);
  if (measure.compacted) {
    const summary = 'compacted: its size follows from its keys, not from time';
    return { ...common, verdict: 'keep', summary, evidence, confidence: 'certain', confidenceReason: null };
  }
  const retentionMs = retentionOf(question);
  if (rate === null || rate.bytesPerSec <= 0 || retentionMs === null || disk === null) {
    const confidenceReason =
      disk === null
        ? 'the brokers do not tell the size of their disks'
        : retentionMs === null
          ? 'the retention is not known'
          : (trust.confidenceReason ?? 'no batch was seen, so that bytes are not known');
    return { ...common, verdict: 'unknown', summary: 'not judged', evidence, confidence: 'none', confidenceReason };
  }
  const perSec = rate.bytesPerSec * spec.replicationFactor;
  const budget = budgetOf(measure, disk);
  const fullMs = (Math.max(0, budget - (measure.diskBytes ?? 0)) / perSec) * 1000;
  const flow = `${formatSize(rate.bytesPerSec)}/s × ${spec.replicationFactor}`;
  const left = `${formatSize(budget)} that the disks leave it`;
  if (retentionMs < 0) {
    const summary = `unlimited at ${flow}: ${left} are full in ${formatDuration(fullMs)}`;
    return { ...common, verdict: 'notice', summary, evidence, ...trust };
  }
  const wanted = heldBytes(question, (perSec * retentionMs) / 1000);
  const equation = `${formatDuration(retentionMs)} at ${flow} = ${formatSize(wanted)}`;
  if (wanted <= budget) {
    return { ...common, verdict: 'keep', summary: `${equation} of ${left}`, evidence, ...trust };
  }
  const fitting = wholeTime((budget / perSec) * 1000);
  const full = `${equation} of ${left}; full in ${formatDuration(fullMs)}`;
  if (fitting === null) {
    const summary = `${full}: not even an hour fits, so more disks or less traffic`;
    return { ...common, verdict: 'notice', summary, evidence, ...trust };
  }
  return {
    ...common,
    verdict: 'change',
    summary: `${full}: ${formatDuration(fitting)} fit`,
    evidence,
    ...trust,
    costs: [`records older than ${formatDuration(fitting)} expire: plan says how many, and who has not read them`],
    edits: [shorten(question, fitting)],
    commands: planCommands(spec.name),
  };
}

interface Rate {
  readonly bytesPerSec: number;
  readonly how: string;
}

/** Disks fill by the mean, not by the peak; hours of the log say more of it than a minute. */
function meanRate(measure: TopicMeasure): Rate | null {
  const { history, bytesPerSec, watchedMs } = measure;
  const perRecord = bytesPerRecord(measure.batches);
  const overHours = history === null || perRecord === null ? 0 : history.meanRecordsPerSec * perRecord;
  if (history !== null && overHours > 0) {
    const how = `the mean of ${formatDuration(history.spanMs)}: offsets at times × ${formatSize(perRecord ?? 0)} a record`;
    return { bytesPerSec: overHours, how };
  }
  return bytesPerSec === null || bytesPerSec <= 0
    ? null
    : { bytesPerSec, how: `what the logs grew by in ${formatDuration(watchedMs)}` };
}

/** -1: unlimited; null: not known. */
function retentionOf({ spec, measure }: RetentionQuestion): number | null {
  const declared = spec.config['retention.ms'];
  return declared === undefined ? measure.retentionMs : Number(declared);
}

/** A size limit holds it, too, where there is one. */
function heldBytes({ spec, measure }: RetentionQuestion, byTime: number): number {
  const declared = spec.config['retention.bytes'];
  const limit = declared === undefined ? measure.retentionBytes : Number(declared);
  return limit === null || limit < 0
    ? byTime
    : Math.min(byTime, limit * Math.max(spec.partitions.count, measure.partitions) * spec.replicationFactor);
}

/** What is free below the alarm, and what the topic has already. */
function budgetOf(measure: TopicMeasure, { totalBytes, usableBytes, usedPercent }: DiskRoom): number {
  const reserve = totalBytes * (1 - usedPercent / 100);
  return Math.max(0, usableBytes - reserve + (measure.diskBytes ?? 0));
}

/** Whole days, or below two days whole hours; null below an hour. */
function wholeTime(ms: number): number | null {
  const unit = ms >= 2 * dayMs ? dayMs : hourMs;
  const whole = Math.floor(ms / unit) * unit;
  return whole >= hourMs ? whole : null;
}

function shorten({ spec, declared }: RetentionQuestion, toMs: number): YamlEdit {
  const path = ['topics', spec.name];
  const inMs = declared.config['retention.ms'];
  if (inMs !== undefined) {
    return { path: [...path, 'config', 'retention.ms'], from: Number(inMs), to: toMs };
  }
  const from = declared.retention === undefined ? null : retentionText(declared.retention);
  return { path: [...path, 'retention'], from, to: retentionText(toMs) };
}

function retentionText(retention: 'unlimited' | number): string {
  return retention === 'unlimited' ? 'unlimited' : formatDuration(retention);
}

function evidenceOf({ measure, disk, ...question }: RetentionQuestion, rate: Rate | null): readonly Evidence[] {
  const retentionMs = retentionOf({ measure, disk, ...question });
  return [
    {
      what: 'mean in',
      value: rate?.bytesPerSec ?? null,
      unit: 'B/s',
      how: rate?.how ?? 'nothing came in, or no batch was seen',
    },
    {
      what: 'retention',
      value: retentionMs === null || retentionMs < 0 ? null : retentionMs,
      unit: 'ms',
      how: retentionMs === null ? 'not known' : retentionMs < 0 ? 'unlimited' : 'in effect or declared',
    },
    { what: 'on disk now', value: measure.diskBytes, unit: 'B', how: 'all replicas, by the log directories' },
    {
      what: 'free',
      value: disk?.usableBytes ?? null,
      unit: 'B',
      how:
        disk === null
          ? 'the brokers do not tell'
          : `of ${formatSize(disk.totalBytes)} on all log directories; ${disk.usedPercent} % may be used`,
    },
    {
      what: 'first disk full in',
      value: disk?.fullInMs ?? null,
      unit: 'ms',
      how: disk?.fullHow ?? 'the brokers do not tell',
    },
  ];
}
