import { formatCount, formatDuration } from '../../lib/config/units.ts';
import type { DemoReport, DemoTopic } from '../../lib/demo/demo.ts';
import type { DemoProgress, DemoStep } from '../../lib/demo/steps.ts';
import type { View } from '../base-command.ts';
import type { Progress } from '../output/progress.ts';
import { accent, bad, dim, ok, strong, type Line } from '../output/text.ts';

const stepNames: Readonly<Record<DemoStep, string>> = {
  topics: 'topics',
  migrate: 'schema',
  roles: 'roles',
  publish: 'publish',
  arrive: 'arrive',
  check: 'check',
};

export interface DemoConsole {
  readonly say: (line: Line) => void;
  readonly progress: (label: string, total?: number) => Progress;
}

/** One line a step that is done; a bar for the one under way. */
export function showDemoProgress(console: DemoConsole): (progress: DemoProgress) => void {
  let bar: Progress | undefined;
  return (progress) => {
    switch (progress.kind) {
      case 'began':
        break;
      case 'moved':
        bar ??= console.progress(stepNames[progress.step], progress.total);
        bar.update(progress.done);
        break;
      case 'done':
        bar?.end();
        bar = undefined;
        console.say([
          `${stepNames[progress.step].padEnd(18)} `,
          ok('done'),
          dim(`  ${formatDuration(progress.elapsedMs)}`),
          `  ${progress.detail}`,
        ]);
    }
  };
}

export interface DemoSetting {
  /** The demo has started the servers, so that somebody has to stop them. */
  readonly ownSandbox: boolean;
  readonly workingDirectory: string;
}

/** The demo's report: what was acked and what became of it, the problems if any, and what to try next. */
export function demoView(setting: DemoSetting): (report: DemoReport, view: View) => string {
  return (report, view) => {
    const table = view.table(
      [
        { title: 'TOPIC' },
        ...['ACKED', 'STORED', 'DUPLICATES', 'DEAD LETTERS', 'LAG', 'P50', 'P99'].map((title) => ({
          title,
          align: 'right' as const,
        })),
      ],
      report.topics.map(topicRow),
    );
    return ['', table, '', ...[...verdict(report), '', ...nextSteps(report, setting)].map(view.line)].join('\n');
  };
}

function topicRow(row: DemoTopic): readonly Line[] {
  const zero = (count: number): Line => (count === 0 ? '0' : bad(String(count)));
  const latency = (ms: number | null): string => (ms === null ? '?' : formatDuration(ms));
  return [
    strong(row.topic),
    String(row.acked),
    String(row.stored),
    zero(row.duplicates),
    String(row.deadLetters),
    zero(row.lagRecords),
    latency(row.latencyP50Ms),
    latency(row.latencyP99Ms),
  ];
}

function verdict({ ok: good, topics, problems, seconds, seed, orders }: DemoReport): readonly Line[] {
  const acked = topics.reduce((sum, topic) => sum + topic.acked, 0);
  const tail = dim(`   ${formatDuration(seconds * 1000)}, ${formatCount(acked / seconds)}/s, seed ${seed}`);
  if (good) {
    return [
      [
        ok('nothing lost, nothing twice'),
        `: each of ${acked} records has exactly the one row or dead letter that it must have`,
        tail,
      ],
      ...(orders === null
        ? []
        : [dim(`${orders.table}: ${orders.rows} orders as their last event says, ${orders.deleted} deleted`)]),
      dim(`dead letters, all expected: ${reasonsText(topics)}`),
      dim('latency: from Kafka’s timestamp until the row was stored (analytics: from the ack until the commit)'),
    ];
  }
  return [[bad('not as it must be'), tail], ...problems.map((problem): Line => [bad('! '), problem])];
}

function reasonsText(topics: readonly DemoTopic[]): string {
  const sums = new Map<string, number>();
  for (const [reason, count] of topics.flatMap(({ deadLettersByReason }) => Object.entries(deadLettersByReason))) {
    sums.set(reason, (sums.get(reason) ?? 0) + count);
  }
  return (
    [...sums]
      .toSorted(([, left], [, right]) => right - left)
      .map(([reason, count]) => `${reason} ${count}`)
      .join(', ') || 'none'
  );
}

function nextSteps({ configPath }: DemoReport, { ownSandbox, workingDirectory }: DemoSetting): readonly Line[] {
  const config = configPath === `${workingDirectory}/kpipe.yaml` ? '' : ` -c ${configPath}`;
  const steps: readonly (readonly [command: string, what: string])[] = [
    [`kpipe lag --watch${config}`, 'lag in records, in time, and until loss'],
    [`kpipe logs search 'timed out' --since 1h${config}`, 'full text over the stored log lines'],
    [`kpipe produce --generate api --rate 500/s${config}`, 'more of the shop, until Ctrl-C'],
    [`kpipe consume events${config}`, 'a role in the foreground; several share its topic'],
    ...(ownSandbox ? [['kpipe sandbox down', 'stop the servers; their data stays'] as const] : []),
  ];
  const width = Math.max(...steps.map(([command]) => command.length));
  return [
    'try next:',
    ...steps.map(([command, what]): Line => ['  ', accent(command.padEnd(width)), dim(`  ${what}`)]),
  ];
}
