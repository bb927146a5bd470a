import { assert, constantFrom, property, uniqueArray } from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';

import { editYaml } from '../../../../src/lib/topics/tune/edit-yaml.ts';
import type { YamlEdit } from '../../../../src/lib/topics/tune/advice.ts';

const file = `# the shop
pipeline: shop

topics:
  events:                             # from application services
    partitions: {basis: consumers, consumers: 6}   # one each
    replicationFactor: 3
    retention: 7d                     # a week
    config: {min.insync.replicas: 2}
  logs:
    # a lot of it
    partitions: 4
    retention: 30d

contexts:
  prod:
    topics:
      events:
        partitions: {basis: consumers, consumers: 12}
`;

const edit = (path: string, to: string | number): YamlEdit => ({ path: path.split('/'), from: null, to });
const edited = (edits: readonly YamlEdit[], context: string | null = null, text = file): string =>
  editYaml(text, edits, context).text;

describe('what stands there', () => {
  test('only the value changes: comments, columns and quotes beside it stay', () => {
    const edits = [edit('topics/events/partitions/consumers', 8), edit('topics/events/retention', '19d')];
    const { text, diff } = editYaml(file, edits, null);
    expect(text).toBe(
      file
        .replace('consumers: 6}   # one each', 'consumers: 8}   # one each')
        .replace('retention: 7d ', 'retention: 19d '),
    );
    expect(diff).toEqual([
      '@@ -5,5 +5,5 @@',
      '   events:                             # from application services',
      '-    partitions: {basis: consumers, consumers: 6}   # one each',
      '+    partitions: {basis: consumers, consumers: 8}   # one each',
      '     replicationFactor: 3',
      '-    retention: 7d                     # a week',
      '+    retention: 19d                     # a week',
      '     config: {min.insync.replicas: 2}',
    ]);
  });

  test('a bare count is the count', () => {
    expect(edited([edit('topics/logs/partitions/count', 10)])).toBe(file.replace('partitions: 4', 'partitions: 10'));
  });

  test('a context is edited where it says it, and the file where it does not', () => {
    const edits = [edit('topics/events/partitions/consumers', 14), edit('topics/events/retention', '5d')];
    expect(edited(edits, 'prod')).toBe(
      file.replace('consumers: 12', 'consumers: 14').replace('retention: 7d', 'retention: 5d'),
    );
  });

  test('references and aliases are left to a person', () => {
    const text = "topics:\n  a: &a {retention: '${env:R}'}\n  b: *a\n  c: {config: *a}\n";
    for (const path of ['topics/a/retention', 'topics/b/retention', 'topics/b', 'topics/c/config/retention']) {
      expect(() => edited([edit(path, '1d')], null, text)).toThrow(/no plain value in kpipe.yaml: nothing was written/);
    }
  });
});

describe('what is missing', () => {
  test('a line of its own in a block, the end of a flow map in one', () => {
    expect(edited([edit('topics/logs/config/min.insync.replicas', 2)])).toBe(
      file.replace('    retention: 30d\n', '    retention: 30d\n    config: {min.insync.replicas: 2}\n'),
    );
    expect(edited([edit('topics/events/config/retention.ms', 5)])).toBe(
      file.replace('{min.insync.replicas: 2}', '{min.insync.replicas: 2, retention.ms: 5}'),
    );
  });

  test('behind a comment at the end of the line, with the file’s own line ends', () => {
    const text = 'topics:\r\n  a:\r\n    partitions: 1 # one\r\n';
    expect(edited([edit('topics/a/retention', '7d')], null, text)).toBe(
      'topics:\r\n  a:\r\n    partitions: 1 # one\r\n    retention: 7d\r\n',
    );
  });

  test('an empty flow map, and a file without a last line end', () => {
    expect(edited([edit('topics/a/config/k', 1)], null, 'topics: {a: {config: {}}}')).toBe(
      'topics: {a: {config: {k: 1}}}',
    );
    expect(edited([edit('topics/a/retention', '1d')], null, 'topics:\n  a:\n    partitions: 1')).toBe(
      'topics:\n  a:\n    partitions: 1\n    retention: 1d',
    );
  });

  test('two at once', () => {
    const edits = [edit('topics/logs/replicationFactor', 3), edit('topics/logs/config/min.insync.replicas', 2)];
    expect(parse(edited(edits))).toMatchObject({
      topics: { logs: { partitions: 4, retention: '30d', replicationFactor: 3, config: { 'min.insync.replicas': 2 } } },
    });
  });

  test('the diff shows only added lines', () => {
    expect(editYaml(file, [edit('topics/logs/config/min.insync.replicas', 2)], null).diff).toEqual([
      '@@ -12,3 +12,4 @@',
      '     partitions: 4',
      '     retention: 30d',
      '+    config: {min.insync.replicas: 2}',
      ' ',
    ]);
  });
});

test('any edits at once are read back as meant, and no comment is lost', () => {
  const paths = [
    'topics/events/partitions/consumers',
    'topics/events/replicationFactor',
    'topics/events/retention',
    'topics/events/config/min.insync.replicas',
    'topics/events/config/retention.ms',
    'topics/logs/partitions/count',
    'topics/logs/replicationFactor',
    'topics/logs/config/min.insync.replicas',
  ] as const;
  const comments = file.match(/#.*/g);
  assert(
    property(uniqueArray(constantFrom(...paths)), (chosen) => {
      const text = edited(chosen.map((path, index) => edit(path, 100 + index)));
      expect(text.match(/#.*/g)).toEqual(comments);
      for (const [index, path] of chosen.entries()) {
        const [topic = '', ...keys] = path
          .replace('topics/', '')
          .replace(/^logs\/partitions\/count$/, 'logs/partitions')
          .split('/');
        const found = keys.reduce<unknown>(
          (value, key) => (value as Record<string, unknown>)[key],
          (parse(text) as { topics: Record<string, unknown> }).topics[topic],
        );
        expect(found).toBe(100 + index);
      }
    }),
  );
});
