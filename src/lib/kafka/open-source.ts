import type { KafkaConfig } from '../config/load.ts';
import { instanceIdPattern, instanceIdRule } from '../config/schema.ts';
import { KpipeError } from '../errors.ts';
import type { Source } from '../ports.ts';

export interface SourceOptions {
  readonly topic: string;
  /** The topic that is meant: one that was made anew under the same name is not read. Absent: whichever is there. */
  readonly topicId?: string;
  readonly group: string;
  readonly clientId: string;
  /** What one fetch brings of one partition at most, compressed; a batch that is larger comes whole. */
  readonly maxBytesPerPartition: number;
  /** How long a broker may wait for the first byte: the price of an idle topic, paid in latency. */
  readonly maxWaitMs: number;
  /** Static membership; null: the member is as new with every start. */
  readonly instanceId: string | null;
  /** A line about the group that the operator should see. */
  readonly notice: (text: string) => void;
}

/**
 * The source that `kafka.source` names. Only its driver is loaded.
 * @throws KPIPE_CONFIG_INVALID for an instance id that it cannot have
 */
export async function openSource(config: KafkaConfig, options: SourceOptions): Promise<Source> {
  checkInstanceId(config, options.instanceId);
  switch (config.source) {
    case 'cooperative': {
      const { openCooperativeSource } = await import('./source-cooperative.ts');
      return openCooperativeSource(config, options);
    }
    case 'kafkajs': {
      const { openKafkajsSource } = await import('./source-kafkajs.ts');
      return openKafkajsSource(config, options);
    }
  }
}

function checkInstanceId({ source }: KafkaConfig, instanceId: string | null): void {
  if (instanceId !== null && (source === 'kafkajs' || !instanceIdPattern.test(instanceId))) {
    throw new KpipeError('KPIPE_CONFIG_INVALID', `instance id ${instanceId}: ${source} cannot join with it`, {
      next: `an instance id needs kafka.source: cooperative, and has ${instanceIdRule}`,
    });
  }
}
