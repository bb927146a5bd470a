import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { afterAll, describe, expect, inject, test, vi } from 'vitest';

import type { TopicsPlanResult } from '../../src/commands/topics/plan.ts';
import { loadConfig } from '../../src/lib/config/load.ts';
import { openKafkaAdmin } from '../../src/lib/kafka/admin.ts';
import { openPublisher } from '../../src/lib/kafka/publisher.ts';
import type { MoveResult } from '../../src/lib/topics/move/carry-out.ts';
import { oracleConfig, oracleTopic } from '../support/kafka-tools.ts';
import { pipelineDirectory } from '../support/pipeline-file.ts';
import { kpipe, root, runProgram, type Running } from '../support/run-kpipe.ts';
import { faultRounds, faultSeed, seeded } from '../support/seeded.ts';
import { uniqueTopic } from '../support/servers.ts';
import { topicsEverywhere } from '../support/topics-everywhere.ts';

/**
 * kpipe is killed with -9 at an instant that a seed chooses: when it has written so many lines to its audit log, that is,
 * just before or in the middle of each of its acts. Then it is run again, and what it was to do must be done.
 */
const servers = inject('servers');
const directory = pipelineDirectory();
const seed = faultSeed();
const random = seeded(seed);
const rounds = Array.from({ length: faultRounds(3) }, (_, index) => index + 1);
const { kafka } = loadConfig({ file: servers.config, cwd: '/', env: process.env });
const admin = await openKafkaAdmin(kafka, { deadlineMs: 30_000 });
const made: string[] = [];

afterAll(async () => {
  await Promise.all(made.map((topic) => admin.deleteTopic(topic).catch(() => undefined)));
  await admin.close();
});

function pipeline(topics: Readonly<Record<string, string>>, name: string): string {
  made.push(...Object.keys(topics));
  const entries = Object.entries(topics).map(([topic, declared]) => `  ${topic}: ${declared}`);
  const text = `pipeline: test\nkafka: {brokers: [${servers.brokers.join(', ')}]}\ntopics:\n${entries.join('\n')}\n`;
  return directory.write(text, `${name}.yaml`);
}

const auditFile = join(directory.path, 'state', 'kpipe', 'topics-audit.ndjson');
const auditLines = (): number => (existsSync(auditFile) ? readFileSync(auditFile, 'utf8').split('\n').length - 1 : 0);

/** Kills the command when it has written so many lines. @returns false: it was done before */
async function killAfter(running: Running, lines: number): Promise<boolean> {
  const before = auditLines();
  let over = false;
  const ended = running.ended.then(() => {
    over = true;
  });
  await vi.waitUntil(() => over || auditLines() >= before + lines, { timeout: 120_000, interval: 2 });
  running.child.kill('SIGKILL');
  await ended;
  return (await running.ended).signal === 'SIGKILL';
}

function start(args: readonly string[]): Running {
  const running = runProgram(process.execPath, [`${root}bin/run.js`, ...args], directory.options);
  running.child.stdin.end();
  return running;
}

describe(`topics (seed ${seed})`, () => {
  test.each(rounds)('apply, killed and run again, round %i: all as declared, what others set stays', async (round) => {
    // given a topic that is there, with a key of somebody else's, and three that are not
    const [old, ...fresh] = Array.from({ length: 4 }, (_, index) => uniqueTopic(`kill${round}${index}`));
    const name = old ?? '';
    made.push(name);
    await admin.createTopic({ name, partitions: 1, replicationFactor: 1, config: { 'segment.ms': '700000' } });
    await topicsEverywhere(kafka, [name]);
    const file = pipeline(
      {
        [name]: '{partitions: 3, replicationFactor: 3, retention: 3d, config: {min.insync.replicas: 2}}',
        ...Object.fromEntries(fresh.map((topic) => [topic, '{partitions: 2, replicationFactor: 3, retention: 1d}'])),
      },
      `apply-${round}`,
    );

    // when the apply is killed, and another one runs to its end
    const lines = 1 + random.below(8);
    await killAfter(start(['topics', 'apply', '-c', file, '--yes']), lines);
    const again = await kpipe(['topics', 'apply', '-c', file, '--yes', '--json'], directory.options);
    expect(again.code, `after ${lines} lines: ${again.stderr}`).toBe(0);

    // then a plan finds nothing, and Kafka's own tools see what was declared
    const planned = await kpipe(['topics', 'plan', '-c', file, '--json'], directory.options);
    expect((JSON.parse(planned.stdout) as TopicsPlanResult).changes).toEqual([]);
    expect(planned.code).toBe(0);
    await soon(async () => {
      const oracle = await oracleTopic(name);
      expect(oracle?.partitions.map(({ replicas }) => replicas.length)).toEqual([3, 3, 3]);
      expect(await oracleConfig('topics', name)).toEqual({
        'retention.ms': '259200000',
        'min.insync.replicas': '2',
        'segment.ms': '700000',
      });
    });
  });

  test.each(rounds)('move, killed and run again, round %i: replicas in place, no throttle left', async (round) => {
    // given four partitions with one replica each, and records that take a while to copy slowly
    const topic = uniqueTopic(`killmove${round}`);
    const file = pipeline({ [topic]: '{partitions: 4, replicationFactor: 3}' }, `move-${round}`);
    await admin.createTopic({ name: topic, partitions: 4, replicationFactor: 1, config: {} });
    await topicsEverywhere(kafka, [topic]);
    const publisher = await openPublisher(kafka, { clientId: topic });
    for (const partition of [0, 1, 2, 3]) {
      const records = Array.from({ length: 300 }, () => ({ key: null, value: Buffer.alloc(1000, 'x'), partition }));
      await publisher.publish(topic, records);
    }
    await publisher.close();

    // when the move is killed, and another one runs to its end
    // A rate that nobody else sets, so that whose it is can be told from the brokers.
    const rate = String(300_000 + random.below(50_000));
    const args = ['topics', 'move', topic, '-c', file, '--yes', '--batch', '2', '--throttle', `${rate}B/s`];
    const lines = 1 + random.below(6);
    const wasKilled = await killAfter(start(args), lines);
    const again = await kpipe([...args, '--json'], directory.options);
    const { notMoved, throttlesLeft } = JSON.parse(again.stdout) as MoveResult;
    expect(notMoved, `after ${lines} lines, killed ${wasKilled}: ${again.stderr}`).toEqual([]);
    expect(again.code).toBe(throttlesLeft.length === 0 ? 0 : 5);

    // then every replica is in sync where it should be, and nothing is slowed any more
    await soon(async () => {
      const oracle = await oracleTopic(topic);
      expect(oracle?.partitions.map(({ isr }) => isr)).toEqual(Array.from({ length: 4 }, () => [1, 2, 3]));
      expect((await admin.reassignments()).filter((each) => each.topic === topic)).toEqual([]);
      expect(await oracleConfig('topics', topic)).toEqual({});
      // A throttle of ours that is still there is named, and only a topic of somebody else's can be the reason.
      const left = await throttlesOf(rate);
      expect(left.filter(({ broker, key }) => !isNamed(throttlesLeft, broker, key))).toEqual([]);
    });
    expect(throttlesLeft.filter((text) => !text.endsWith(' are slowed by them)'))).toEqual([]);
    expect(throttlesLeft.filter((text) => text.includes(topic))).toEqual([]);
  });
});

/** The broker that Kafka's tool asks may hear of a change later than the one that kpipe asked. */
function soon(check: () => Promise<void>): Promise<void> {
  return vi.waitFor(check, { timeout: 120_000, interval: 500 });
}

interface LeftThrottle {
  readonly broker: number;
  readonly key: string;
}

/** By Kafka's own tool: the brokers that are slowed to this rate. */
async function throttlesOf(rate: string): Promise<readonly LeftThrottle[]> {
  const found = await Promise.all(
    [1, 2, 3].map(async (broker) => {
      const values = Object.entries(await oracleConfig('brokers', String(broker)));
      return values
        .filter(([key, value]) => key.endsWith('throttled.rate') && value === rate)
        .map(([key]) => ({ broker, key }));
    }),
  );
  return found.flat();
}

function isNamed(named: readonly string[], broker: number, key: string): boolean {
  return named.some((text) => text.startsWith(`broker ${broker}: `) && text.includes(key));
}
