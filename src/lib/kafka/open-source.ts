import type { KafkaConfig } from '../config/load.ts';
import { topicNamePattern, topicNameRule } from '../config/schema.ts';
import { KpipeError } from '../errors.ts';
import type { Source } from '../ports.ts';
import type { SourceOptions } from './source-options.ts';

/**
 * A member of the group that reads by kpipe's own loop; its driver is loaded now.
 * @throws KPIPE_CONFIG_INVALID for an instance id that it cannot have
 */
export async function openSource(config: KafkaConfig, options: SourceOptions): Promise<Source> {
  checkInstanceId(options.instanceId);
  const { openCooperativeSource } = await import('./source-cooperative.ts');
  return openCooperativeSource(config, options);
}

/** Brokers want of it what they want of a topic's name. */
function checkInstanceId(instanceId: string | null): void {
  if (instanceId !== null && !topicNamePattern.test(instanceId)) {
    throw new KpipeError('KPIPE_CONFIG_INVALID', `instance id ${instanceId}: no member can join with it`, {
      next: `an instance id has ${topicNameRule}`,
    });
  }
}
