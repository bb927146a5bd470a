import type { Config } from '../config/load.ts';
import { roleNames } from '../config/schema.ts';
import { KpipeError } from '../errors.ts';

/** Where the dead letters of roles lie. Roles can share a topic. */
export interface DeadLetterTopic {
  readonly topic: string;
  readonly roles: readonly string[];
}

/**
 * The dead-letter topics of a role of kpipe.yaml, or of all of them.
 * @throws KPIPE_USAGE: there is no such role; KPIPE_CONFIG_INVALID: there is none at all
 */
export function deadLetterTopics(config: Config, role: string | undefined): readonly DeadLetterTopic[] {
  const configured = roleNames.flatMap((name) => {
    const topic = config.roles[name]?.deadLetters;
    return topic === undefined ? [] : [{ name, topic }];
  });
  if (configured.length === 0) {
    throw new KpipeError('KPIPE_CONFIG_INVALID', `${config.file} declares no roles: nothing writes dead letters`, {
      next: 'add roles to kpipe.yaml; `kpipe init` writes an example',
    });
  }
  const chosen = role === undefined ? configured : configured.filter(({ name }) => name === role);
  if (chosen.length === 0) {
    throw new KpipeError('KPIPE_USAGE', `there is no role ${role} in ${config.file}`, {
      next: `there are ${configured.map(({ name }) => name).join(', ')}`,
    });
  }
  return [...Map.groupBy(chosen, ({ topic }) => topic)].map(([topic, roles]) => ({
    topic,
    roles: roles.map(({ name }) => name),
  }));
}
