import { nearestName } from '../config/nearest.ts';
import { KpipeError } from '../errors.ts';

export interface PruneScope {
  /** Every topic of the cluster, Kafka's internal ones included. */
  readonly topics: readonly { readonly name: string; readonly internal: boolean }[];
  /** What kpipe.yaml declares or needs: dead letters, and the journal. */
  readonly managed: ReadonlySet<string>;
}

/**
 * The topics to delete, each once.
 * @throws KPIPE_REFUSED for Kafka's and kpipe's own and for what kpipe.yaml declares; KPIPE_TOPIC_MISSING
 */
export function pruneTargets(named: readonly string[], { topics, managed }: PruneScope): readonly string[] {
  const names = [...new Set(named)];
  for (const name of names) {
    const found = topics.find((topic) => topic.name === name);
    if (name.startsWith('__') || found?.internal === true) {
      throw new KpipeError('KPIPE_REFUSED', `${name} is Kafka's own topic: kpipe never deletes it`, {
        where: { topic: name },
      });
    }
    if (managed.has(name)) {
      throw new KpipeError('KPIPE_REFUSED', `${name} is declared in kpipe.yaml, or kpipe's own: it is not deleted`, {
        where: { topic: name },
        next: 'take it out of kpipe.yaml first: topics:, and as a role’s topic or deadLetters',
      });
    }
    if (found === undefined) {
      const nearest = nearestName(
        name,
        topics.map((topic) => topic.name),
      );
      throw new KpipeError(
        'KPIPE_TOPIC_MISSING',
        `there is no topic ${name} to delete${nearest === undefined ? '' : `: did you mean ${nearest}?`}`,
        { where: { topic: name }, next: '`kpipe topics plan` lists what kpipe.yaml does not declare' },
      );
    }
  }
  return names;
}

/** What kpipe.yaml needs even when `topics:` does not name it: roles' topics, their dead letters, the journal. */
export function managedTopics(
  specs: readonly { readonly name: string }[],
  config: {
    readonly roles: Readonly<Record<string, { readonly topic: string; readonly deadLetters: string } | undefined>>;
    readonly kafka?: { readonly journal: string } | undefined;
  },
): ReadonlySet<string> {
  const ofRoles = Object.values(config.roles).flatMap((role) =>
    role === undefined ? [] : [role.topic, role.deadLetters],
  );
  const own = config.kafka === undefined ? [] : [config.kafka.journal];
  return new Set([...specs.map(({ name }) => name), ...ofRoles, ...own]);
}
