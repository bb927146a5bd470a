import { formatConfigValue } from '../../lib/topics/config-keys.ts';
import type { ApplyEvent, ApplyResult } from '../../lib/topics/apply.ts';
import type { Change, InSyncTopic, TopicPlan } from '../../lib/topics/change.ts';
import type { DescribedTopic, ListedTopic, TopicList } from '../../lib/topics/inspect.ts';
import { formatGibi } from '../../lib/topics/risks.ts';
import { bad, dim, ok, strong, warn, type Line, type Span } from '../output/text.ts';
import type { View } from '../base-command.ts';

/** Screens of `kpipe topics …`: results in, text out. */

/** A plan as people read it: one line a change, old → new, the reason, and the risk after `!`. */
export function planLines(plan: TopicPlan, context: string | null): readonly Line[] {
  const widths = columnWidths(plan);
  const byTopic = Map.groupBy(plan.changes, ({ topic }) => topic);
  return [
    headLine(plan, context),
    ...[...byTopic].flatMap(([topic, changes]) =>
      changes.flatMap((change, index) => changeLines(change, index === 0 ? topic : '', widths)),
    ),
    ...plan.inSync.map((topic) => inSyncLine(topic, widths)),
    ...unmanagedLines(plan.unmanaged),
    summaryLine(plan, byTopic),
  ];
}

export function planView(context: string | null): (plan: TopicPlan, view: View) => string {
  return (plan, view) => planLines(plan, context).map(view.line).join('\n');
}

function headLine(plan: TopicPlan, context: string | null): Line {
  const time = plan.observedAt.replace(/^.*T([\d:]+).*$/, '$1Z');
  const parts = [...(context === null ? [] : [`context ${context}`]), `cluster ${plan.clusterId}`, `observed ${time}`];
  return dim(parts.join('   '));
}

interface Widths {
  readonly topic: number;
  readonly key: number;
  readonly step: number;
}

function columnWidths({ changes, inSync }: TopicPlan): Widths {
  const longest = (texts: readonly string[]): number => Math.max(0, ...texts.map((text) => text.length));
  const inRow = changes.filter(({ key }) => key !== null);
  return {
    topic: longest([...changes, ...inSync].map(({ topic }) => topic)),
    key: longest(inRow.map(({ key }) => key ?? '')),
    step: longest(inRow.map(stepText)),
  };
}

const sign: Readonly<Record<Change['kind'], Span>> = {
  create: ok('+'),
  config: warn('~'),
  partitions: warn('~'),
  replication: warn('~'),
  placement: warn('~'),
  delete: bad('-'),
};

function changeLines(change: Change, topic: string, widths: Widths): readonly Line[] {
  const lead = topic === '' ? ' ' : sign[change.kind];
  const name = strong(topic.padEnd(widths.topic));
  const step =
    change.key === null
      ? stepText(change)
      : `${(change.key ?? '').padEnd(widths.key)}  ${stepText(change).padEnd(widths.step)}`;
  const [first, ...more] = change.warnings.map((text) => warningSpan(text, change.risk));
  const indent = ' '.repeat(2 + widths.topic + 2 + widths.key + 2 + widths.step + 2);
  const reason = change.reason === 'declared' ? [] : ['   ', dim(change.reason)];
  return [
    [lead, ' ', name, '  ', step, ...(first === undefined ? [] : ['   ', first]), ...reason],
    ...more.map((warning): Line => [indent, warning]),
  ];
}

function warningSpan(text: string, risk: Change['risk']): Span {
  return risk === 'high' ? bad(`! ${text}`) : warn(`! ${text}`);
}

function stepText(change: Change): string {
  switch (change.kind) {
    case 'create': {
      const { partitions, replicationFactor, config } = change.to;
      const keys = Object.entries(config).map(([key, value]) => `${key} ${formatConfigValue(key, value)}`);
      return [`create  ${count(partitions, 'partition')} × ${count(replicationFactor, 'replica')}`, ...keys].join(', ');
    }
    case 'config': {
      const from = change.from === null ? 'not set' : formatConfigValue(change.key, change.from);
      return `${from} → ${formatConfigValue(change.key, change.to)}`;
    }
    case 'partitions':
    case 'replication':
      return `${change.from} → ${change.to}`;
    case 'placement':
      return `${count(change.from, 'partition')} unevenly → over the racks`;
    case 'delete':
      return `delete  ${count(change.from.partitions, 'partition')} × ${count(change.from.replicationFactor, 'replica')}`;
  }
}

function inSyncLine({ topic, keptKeys }: InSyncTopic, widths: Widths): Line {
  const kept = keptKeys.length === 0 ? '' : ` (${count(keptKeys.length, 'key')} set outside the file: kept)`;
  return dim(`= ${topic.padEnd(widths.topic)}  in sync${kept}`);
}

/** More than a screen of them would hide the plan. */
const shownUnmanaged = 20;

function unmanagedLines(names: readonly string[]): readonly Line[] {
  const more = names.length - shownUnmanaged;
  return [
    ...names.slice(0, shownUnmanaged).map((name) => dim(`? ${name}  not in the file: left alone`)),
    ...(more > 0 ? [dim(`? and ${more} more (--json names them all)`)] : []),
  ];
}

function summaryLine(plan: TopicPlan, byTopic: ReadonlyMap<string, readonly Change[]>): Line {
  const created = plan.changes.filter(({ kind }) => kind === 'create').length;
  const deleted = plan.changes.filter(({ kind }) => kind === 'delete').length;
  const warnings = plan.changes.reduce((total, change) => total + change.warnings.length, 0);
  const updated = byTopic.size - created - deleted;
  const text = `plan: ${created} create, ${updated} update, ${deleted} delete, ${count(warnings, 'warning')}`;
  const others =
    plan.unmanaged.length === 0 ? '' : `; ${count(plan.unmanaged.length, 'topic')} outside the file: left alone`;
  return [strong(text), dim(others)];
}

/** A step of an apply, for the person who watches. */
export function applyStepLine({ step, steps, changes }: Pick<ApplyEvent, 'step' | 'steps' | 'changes'>): Line {
  return [dim(`${step}/${steps} `), changes.map(changeText).join('; ')];
}

export function applyView(result: ApplyResult, view: View): string {
  if (result.done.length + result.failed.length + result.notDone.length === 0) {
    return view.line([ok('in sync'), `: ${count(result.inSync.length, 'topic')} as declared, nothing to do`]);
  }
  const lines: readonly Line[] = [
    ...result.done.map((change): Line => [ok('done     '), changeText(change)]),
    ...result.failed.flatMap(({ change, code, message, next }): readonly Line[] => [
      [bad('failed   '), changeText(change)],
      ['         ', bad(code), ' ', message],
      ...(next === null ? [] : [['         ', dim('next: '), next]]),
    ]),
    ...result.notDone.map((change): Line => [warn('not done '), changeText(change)]),
    strong(`applied: ${result.done.length} done, ${result.failed.length} failed, ${result.notDone.length} not done`),
  ];
  return lines.map(view.line).join('\n');
}

function changeText(change: Change): string {
  return `${change.topic}  ${change.key === null ? '' : `${change.key}  `}${stepText(change)}`;
}

export function topicListView(list: TopicList, view: View): string {
  if (list.topics.length === 0) {
    return view.line('no topics, and kpipe.yaml declares none');
  }
  const columns = [
    { title: 'TOPIC' },
    { title: 'PARTITIONS', align: 'right' },
    { title: 'REPLICAS', align: 'right' },
    { title: 'RETENTION', align: 'right' },
    { title: 'RECORDS', align: 'right' },
    { title: 'FROM' },
    { title: 'STATE' },
  ] as const;
  return view.table(
    columns,
    list.topics.map((topic) => [
      topic.topic,
      numberText(topic.partitions),
      numberText(topic.replicationFactor),
      topic.retentionMs === null ? '?' : formatConfigValue('retention.ms', String(topic.retentionMs)),
      topic.records === null ? '?' : topic.records.toLocaleString('en-US'),
      originText(topic),
      stateSpan(topic),
    ]),
  );
}

function originText({ origin, roles }: Pick<ListedTopic, 'origin' | 'roles'>): string {
  switch (origin) {
    case null:
      return '';
    case 'declared':
      return roles.length === 0 ? 'kpipe.yaml' : `role ${roles.join(', ')}`;
    case 'deadLetters':
      return `dead letters of ${roles.join(', ')}`;
  }
}

function stateSpan(topic: ListedTopic): Span {
  if (!topic.exists) {
    return bad('missing: kpipe topics apply');
  }
  if (topic.offline !== null && topic.offline > 0) {
    return bad(`${count(topic.offline, 'partition')} offline`);
  }
  return topic.underReplicated !== null && topic.underReplicated > 0
    ? warn(`${count(topic.underReplicated, 'partition')} under-replicated`)
    : ok('ok');
}

export function describedTopicView(options: {
  readonly defaults: boolean;
}): (topic: DescribedTopic, view: View) => string {
  return (topic, view) => {
    const from = originText(topic);
    const head = `${count(topic.partitions.length, 'partition')} × ${count(topic.replicationFactor, 'replica')}   id ${topic.topicId}`;
    return [
      view.line([strong(topic.topic), `   ${head}`, ...(from === '' ? [] : ['   ', dim(from)])]),
      '',
      partitionTable(topic, view),
      '',
      configTable(topic, view, options.defaults),
    ].join('\n');
  };
}

function partitionTable({ partitions }: DescribedTopic, view: View): string {
  const columns = [
    { title: 'PARTITION', align: 'right' },
    { title: 'LEADER', align: 'right' },
    { title: 'REPLICAS' },
    { title: 'IN SYNC' },
    { title: 'LOG START', align: 'right' },
    { title: 'HIGH WATERMARK', align: 'right' },
    { title: 'RECORDS', align: 'right' },
    { title: 'SIZE', align: 'right' },
    { title: 'FIRST RECORD' },
    { title: 'LAST RECORD' },
  ] as const;
  return view.table(
    columns,
    partitions.map((partition) => [
      String(partition.partition),
      partition.leader === null ? bad('none') : String(partition.leader),
      partition.replicas.join(','),
      partition.isr.length < partition.replicas.length ? warn(partition.isr.join(',')) : partition.isr.join(','),
      numberText(partition.logStartOffset),
      numberText(partition.highWatermark),
      partition.records === null ? '?' : partition.records.toLocaleString('en-US'),
      partition.bytes === null ? '?' : formatGibi(partition.bytes),
      timeText(partition.firstRecordAt),
      timeText(partition.lastRecordAt),
    ]),
  );
}

function timeText(time: string | null): string {
  return time === null ? '' : time.replace('T', ' ').replace(/\.\d+Z$/, 'Z');
}

/** Its own values and what the brokers set; Kafka's defaults when asked for. */
function configTable({ config }: DescribedTopic, view: View, defaults: boolean): string {
  const shown = config.filter(({ source, declared }) => defaults || source !== 'default' || declared !== null);
  return view.table(
    [{ title: 'KEY' }, { title: 'VALUE' }, { title: 'SET BY' }, { title: 'DECLARED' }],
    shown.map(({ key, value, source, brokerSource, declared }) => [
      key,
      value === null ? '?' : formatConfigValue(key, value),
      source === 'default' ? dim('Kafka') : (brokerSource ?? source),
      declared === null ? '' : formatConfigValue(key, declared),
    ]),
  );
}

function numberText(value: number | bigint | null): string {
  return value === null ? '?' : String(value);
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}
