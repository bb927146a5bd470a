// The bench's records, and the same rows as CSV files for psql.
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import kafkajs from 'kafkajs';

const rowsPerTransaction = 20_000;
const partitions = 6;
const time = '2026-11-01T12:00:00.123Z';
const words = [
  'request',
  'served',
  'order',
  'payment',
  'cache',
  'miss',
  'retry',
  'queue',
  'worker',
  'customer',
  'total',
  'stock',
];

/** Events of 360 bytes with a random-looking id, the same for the same number. */
export function eventKind(topic, records) {
  const parts = (number) => {
    const id = createHash('md5').update(`event-${number}`).digest('hex');
    const head = `{"specversion":"1.0","id":"${id}","source":"/shop/checkout","type":"order.updated","time":"${time}","data":`;
    const data = `{"orderId":"ord-${number % 50_000}","status":"paid","amountCents":${number},"note":"`;
    return { id, head, data: `${data}${'n'.repeat(360 - head.length - data.length - 3)}"}` };
  };
  const columns = 'time, kafka_timestamp, kafka_offset, partition, source, id, type, topic, data';
  return {
    topic,
    records,
    table: 'kpipe.events',
    columns,
    key: (number) => `ord-${number % 50_000}`,
    value: (number) => {
      const { head, data } = parts(number);
      return `${head}${data}}`;
    },
    csv: (number) => {
      const { id, data } = parts(number);
      return `${time},${time},${number},0,/shop/checkout,${id},order.updated,t,"${data.replaceAll('"', '""')}"`;
    },
  };
}

/** Log lines of 360 bytes: 30 words of a body to search, two attributes. */
export function logKind(topic, records) {
  const day = new Date().toISOString().slice(0, 10);
  const parts = (number) => {
    const at = `${day}T00:00:${String(number % 60).padStart(2, '0')}.123Z`;
    const trace = createHash('md5').update(`log-${number}`).digest('hex');
    const body = Array.from(
      { length: 20 },
      (_, index) => `${words[(number * 7 + index * 5) % words.length]}${(number + index) % 97}`,
    );
    return {
      at,
      trace,
      body: body.join(' '),
      attributes: `{"status":${200 + (number % 5)},"route":"/orders/${number % 500}"}`,
    };
  };
  return {
    topic,
    records,
    table: 'kpipe.logs',
    columns:
      'ts, observed_ts, kafka_offset, partition, line, severity_number, topic, severity_text, service_name, trace_id, body, attributes, resource',
    key: (number) => `host-${number % 20}`,
    value: (number) => {
      const { at, trace, body, attributes } = parts(number);
      return `{"time":"${at}","level":"info","service":"checkout","message":"${body}","trace_id":"${trace}","attributes":${attributes}}`;
    },
    csv: (number) => {
      const { at, trace, body, attributes } = parts(number);
      return `${at},${at},${number},0,0,9,t,info,checkout,${trace},${body},"${attributes.replaceAll('"', '""')}",{}`;
    },
  };
}

/** Creates and fills the topics; answers what removes them. */
export async function createTopics(brokers, kinds, deadLetters) {
  const client = new kafkajs.Kafka({ brokers, logLevel: kafkajs.logLevel.NOTHING });
  const admin = client.admin();
  await admin.connect();
  const names = [...kinds.map(({ topic }) => topic), deadLetters];
  await admin.createTopics({
    waitForLeaders: true,
    topics: names.map((topic) => ({
      topic,
      numPartitions: topic === deadLetters ? 1 : partitions,
      replicationFactor: 1,
    })),
  });
  const producer = client.producer({ createPartitioner: kafkajs.Partitioners.DefaultPartitioner });
  await producer.connect();
  for (const kind of kinds) {
    for (let at = 0; at < kind.records; at += 5000) {
      const messages = Array.from({ length: Math.min(5000, kind.records - at) }, (_, index) => ({
        key: kind.key(at + index),
        value: kind.value(at + index),
      }));
      await producer.send({ topic: kind.topic, acks: -1, messages });
    }
  }
  await producer.disconnect();
  return async () => {
    await admin.deleteTopics({ topics: names }).catch(() => undefined);
    await admin.disconnect();
  };
}

/** The rows as CSV files of one transaction each, and two psql scripts that load them: by staging, and straight. */
export function writeLimit(kind, directory) {
  const limit = ['\\set ON_ERROR_STOP on'];
  const copy = ['\\set ON_ERROR_STOP on'];
  for (let at = 0; at < kind.records; at += rowsPerTransaction) {
    const file = join(directory, `${kind.topic}-${at}.csv`);
    const lines = Array.from({ length: Math.min(rowsPerTransaction, kind.records - at) }, (_, index) =>
      kind.csv(at + index),
    );
    writeFileSync(file, `${lines.join('\n')}\n`);
    limit.push(
      'begin;',
      `create temporary table staging on commit drop as select ${kind.columns} from ${kind.table} with no data;`,
      `\\copy staging from '${file}' csv`,
      `insert into ${kind.table} (${kind.columns}) select ${kind.columns} from staging on conflict do nothing;`,
      'commit;',
    );
    copy.push(`\\copy ${kind.table} (${kind.columns}) from '${file}' csv`);
  }
  const files = { limit: join(directory, `${kind.topic}-limit.sql`), copy: join(directory, `${kind.topic}-copy.sql`) };
  writeFileSync(files.limit, `${limit.join('\n')}\n`);
  writeFileSync(files.copy, `${copy.join('\n')}\n`);
  return files;
}
