// Kafka Connect 4.3, standalone, with Debezium's JDBC sink: upsert by (source, id) into a table that it makes itself, the
// payload flattened into columns, since the sink has no type for a nested object. Batches as large as it takes them.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const text = (field) => ({ field, type: 'string', optional: false });

const schema = {
  type: 'struct',
  optional: false,
  fields: [
    ...['specversion', 'id', 'source', 'type', 'time'].map(text),
    {
      field: 'data',
      type: 'struct',
      optional: false,
      fields: [text('orderId'), text('status'), { field: 'amountCents', type: 'int64', optional: false }, text('note')],
    },
  ],
};

function properties(entries) {
  return `${Object.entries(entries)
    .map(([name, value]) => `${name}=${value}`)
    .join('\n')}\n`;
}

/** Writes the worker's and the connector's files; answers what `java` is given. */
export function connectCommand({ directory, jars, brokers, topic, url, name }) {
  mkdirSync(directory, { recursive: true });
  const worker = join(directory, 'worker.properties');
  const connector = join(directory, 'sink.properties');
  const database = new URL(url);
  writeFileSync(
    worker,
    properties({
      'bootstrap.servers': brokers.join(','),
      'key.converter': 'org.apache.kafka.connect.storage.StringConverter',
      'value.converter': 'org.apache.kafka.connect.json.JsonConverter',
      'value.converter.schemas.enable': 'true',
      'value.converter.schema.content': JSON.stringify(schema),
      'offset.storage.file.filename': join(directory, 'offsets'),
      'offset.flush.interval.ms': '10000',
      listeners: 'http://127.0.0.1:0',
      'plugin.discovery': 'hybrid_warn',
      'consumer.max.poll.records': '5000',
      'consumer.auto.offset.reset': 'earliest',
    }),
  );
  writeFileSync(
    connector,
    properties({
      name,
      'connector.class': 'io.debezium.connector.jdbc.JdbcSinkConnector',
      'tasks.max': '3',
      topics: topic,
      'connection.url': `jdbc:postgresql://${database.host}${database.pathname}?reWriteBatchedInserts=true`,
      'connection.username': 'postgres',
      'connection.password': 'unused',
      'insert.mode': 'upsert',
      'primary.key.mode': 'record_value',
      'primary.key.fields': 'source,id',
      'schema.evolution': 'basic',
      'collection.name.format': 'connect_events',
      'batch.size': '5000',
      transforms: 'flatten',
      'transforms.flatten.type': 'org.apache.kafka.connect.transforms.Flatten$Value',
      'transforms.flatten.delimiter': '_',
    }),
  );
  return ['-Xmx1g', '-cp', jars, 'org.apache.kafka.connect.cli.ConnectStandalone', worker, connector];
}
