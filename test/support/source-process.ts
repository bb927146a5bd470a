/**
 * A member of a group in a process of its own, which a test stops and wakes. Its parent, over IPC, is its sink: it says
 * where to begin, and what takes effect. Argument: the options as JSON.
 */
import { openSource } from '../../src/lib/kafka/open-source.ts';
import type { SourceOptions } from '../../src/lib/kafka/source-options.ts';
import { kafkaConfig, type KafkaSettings, type SourceKind } from './source-kinds.ts';

export interface ProcessOptions {
  readonly kind: SourceKind;
  readonly brokers: readonly string[];
  readonly kafka: KafkaSettings;
  readonly source: Omit<SourceOptions, 'notice'>;
}

/** What the child says. Offsets are text. */
export type FromMember =
  | { readonly event: 'assigned'; readonly partition: number }
  | { readonly event: 'revoked'; readonly partitions: readonly number[] }
  | {
      readonly event: 'fetched';
      readonly partition: number;
      readonly epoch: number;
      readonly position: string;
      readonly nextPosition: string;
      readonly values: readonly string[];
    }
  | { readonly event: 'failed'; readonly message: string };

/** The answer to `assigned`. */
export interface Claimed {
  readonly partition: number;
  readonly epoch: number;
  readonly position: string;
}

const options = JSON.parse(process.argv[2] ?? '') as ProcessOptions;
const epochs = new Map<number, number>();
const claims = new Map<number, (claimed: Claimed) => void>();
const tell = (message: FromMember): void => {
  process.send?.(message);
};
process.on('message', (claimed: Claimed) => claims.get(claimed.partition)?.(claimed));
// The test has ended, or was killed.
process.on('disconnect', () => process.exit(1));

const config = kafkaConfig(options.kind, options.brokers, options.kafka);
const source = await openSource(config, { ...options.source, notice: () => undefined });
try {
  await source.run({
    joined: () => undefined,
    assigned: async ({ partition }) => {
      const answer = new Promise<Claimed>((resolve) => claims.set(partition, resolve));
      tell({ event: 'assigned', partition });
      const { epoch, position } = await answer;
      epochs.set(partition, epoch);
      return BigInt(position);
    },
    fetched: ({ partition, position, nextPosition, records }) => {
      const values = [...records].map(({ value }) => value?.toString() ?? '');
      const epoch = epochs.get(partition) ?? -1;
      tell({
        event: 'fetched',
        partition,
        epoch,
        position: String(position),
        nextPosition: String(nextPosition),
        values,
      });
      return Promise.resolve();
    },
    revoked: (partitions) => {
      tell({ event: 'revoked', partitions: partitions.map(({ partition }) => partition) });
      return Promise.resolve();
    },
  });
} catch (error) {
  tell({ event: 'failed', message: String(error) });
}
