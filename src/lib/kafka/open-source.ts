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
 * A member of the group that reads by kpipe's own loop; its driver is loaded now.
 * @throws KPIPE_CONFIG_INVALID for an instance id that it cannot have
 */
export async function openSource(config: KafkaConfig, options: SourceOptions): Promise<Source> {
  checkInstanceId(options.instanceId);
  const { openCooperativeSource } = await import('./source-cooperative.ts');
  return openCooperativeSource(config, options);
}

function checkInstanceId(instanceId: string | null): void {
  if (instanceId !== null && !instanceIdPattern.test(instanceId)) {
    throw new KpipeError('KPIPE_CONFIG_INVALID', `instance id ${instanceId}: no member can join with it`, {
      next: `an instance id has ${instanceIdRule}`,
    });
  }
}
