import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';

import { afterAll, expect, test, vi } from 'vitest';

import { startFakeBigQuery } from '../support/fake-bigquery.ts';
import { faultPipeline } from '../support/fault-pipeline.ts';
import { viewMaker } from '../support/fault-records.ts';
import { faultSeed, streamOf } from '../support/seeded.ts';

const partitions = 2;
const seed = faultSeed();

/** In the place of PostgreSQL: a server that hangs up on everybody, and counts them. */
let callers = 0;
const down = createServer((socket) => {
  callers += 1;
  socket.destroy();
});
down.listen(0, '127.0.0.1');
await once(down, 'listening');
const { port } = down.address() as AddressInfo;
const fake = await startFakeBigQuery();
afterAll(async () => {
  down.close();
  await fake.close();
});
const pipeline = await faultPipeline({
  role: 'analytics',
  partitions,
  loadEndpoint: fake.endpoint,
  postgres: { host: '127.0.0.1', port },
});

test(`role analytics runs while PostgreSQL is down, never calls it, and tells what it sends (seed ${seed})`, async () => {
  const producer = await pipeline.openProducer(
    streamOf(seed, 'isolation bursts'),
    viewMaker(streamOf(seed, 'isolation records'), partitions),
  );
  const consumer = pipeline.consume('--metrics-port', '0');
  const [, url = ''] = await consumer.shows(/health and metrics: (http:\/\/\S+?)\/livez/);
  await producer.produce(300);
  const wanted = Array.from({ length: partitions }, (_, partition) => producer.acked(partition))
    .flat()
    .filter(({ meaning }) => meaning.kind === 'stored').length;
  await vi.waitUntil(() => fake.rows.length === wanted, { timeout: 60_000 });
  const metrics = await (await fetch(`${url}/metrics`)).text();
  const value = (name: string): number =>
    Number(new RegExp(`^${name}\\{[^}]*\\} (\\S+)$`, 'm').exec(metrics)?.[1] ?? Number.NaN);
  const loads = fake.jobs.filter(({ kind }) => kind === 'load').length;
  const bytes = fake.rows.reduce((sum, { line }) => sum + Buffer.byteLength(line) + 1, 0);
  expect(value('kpipe_bigquery_load_jobs')).toBe(loads);
  expect(value('kpipe_bigquery_requests')).toBe(loads);
  expect(value('kpipe_bigquery_bytes')).toBe(bytes);
  expect(value('kpipe_bigquery_estimated_dollars')).toBe(0);
  consumer.child.kill('SIGTERM');
  expect(await consumer.ended).toMatchObject({ code: 0 });
  expect(new Set(fake.rows.map(({ partition, offset }) => `${partition}/${offset}`)).size).toBe(wanted);
  expect(callers).toBe(0);
}, 120_000);
