import type { KafkaConfig } from '../config/load.ts';
import type { ClusterAdmin } from '../ports.ts';
import type { KeySample } from '../topics/key-moves.ts';
import { RangeReader, stableRanges } from './range-reader.ts';

const wantedRecords = 1200;
const leastOfPartition = 20n;
const deadlineMs = 5000;

/** The keys of a topic's newest records, some of each partition; fewer when the brokers are slow. Joins no group. */
export async function sampleKeys(config: KafkaConfig, admin: ClusterAdmin, topic: string): Promise<KeySample> {
  const [described] = await admin.describeTopics([topic]);
  const led = (described?.partitions ?? [])
    .filter(({ leader }) => leader >= 0)
    .map(({ partition }) => ({ topic, partition, from: 0n, to: null }));
  const starts = await admin.listOffsets(led, 'earliest');
  const even = BigInt(Math.ceil(wantedRecords / Math.max(1, led.length)));
  const each = even > leastOfPartition ? even : leastOfPartition;
  const ranges = (await stableRanges(admin, led)).map((range, index) => {
    const start = starts[index]?.offset ?? 0n;
    return { ...range, from: range.to - each > start ? range.to - each : start };
  });
  const reader = new RangeReader(config, { topic, silenceMs: deadlineMs });
  const keys = new Map<string, KeySample['keys'][number]>();
  let records = 0;
  let keyed = 0;
  try {
    for await (const batch of reader.read(ranges, AbortSignal.timeout(deadlineMs))) {
      records += batch.records.length;
      for (const { key } of batch.records) {
        if (key !== null) {
          keyed += 1;
          keys.set(key.toString('latin1'), { key, partition: batch.partition });
        }
      }
    }
  } finally {
    await reader.close();
  }
  return { records, keyed, keys: [...keys.values()] };
}
