import { describe, expect, test } from 'vitest';

import { KpipeError } from '../../../src/lib/errors.ts';
import type { ClusterAdmin } from '../../../src/lib/ports.ts';
import { unseenByBroker } from '../../../src/lib/topics/visible.ts';

interface Broker {
  readonly name: string;
  looks: number;
}

const away = new KpipeError('KPIPE_KAFKA_UNREACHABLE', 'away');

/** A cluster whose brokers are asked alone, side by side; `on` is what the cluster is when it is asked as a whole. */
function cluster(brokers: readonly Broker[], on: Broker = { name: 'any', looks: 0 }): ClusterAdmin {
  const onEachBroker: ClusterAdmin['onEachBroker'] = async (ask) => {
    const answers = brokers.map((broker) =>
      ask(broker as unknown as ClusterAdmin).then(
        (answer) => [answer],
        (error: unknown) => {
          if (error === away) {
            return [];
          }
          throw error;
        },
      ),
    );
    return (await Promise.all(answers)).flat();
  };
  return Object.assign(on, { onEachBroker }) as unknown as ClusterAdmin;
}

/** What each broker shows, by how often it was looked at. */
function looking(shown: Readonly<Record<string, (look: number) => readonly string[]>>) {
  return (admin: ClusterAdmin, open: readonly string[]): Promise<readonly string[]> => {
    const broker = admin as unknown as Broker;
    broker.looks += 1;
    const seen = shown[broker.name]?.(broker.looks) ?? [];
    return Promise.resolve(open.filter((item) => !seen.includes(item)));
  };
}

describe('what brokers do not show', () => {
  test('given one that hears later, when it is waited for, then nothing is left, and what was seen once is not asked for again', async () => {
    const [quick, late] = [
      { name: 'quick', looks: 0 },
      { name: 'late', looks: 0 },
    ];
    const look = looking({ quick: () => ['a', 'b'], late: (count) => (count === 1 ? ['a'] : ['b']) });

    expect(await unseenByBroker(cluster([quick, late]), ['a', 'b'], look, 60_000)).toEqual([[], []]);
    expect([quick.looks, late.looks]).toEqual([1, 2]);
  });

  test('given a time that is over, then what is left is told of each', async () => {
    const brokers = [
      { name: 'quick', looks: 0 },
      { name: 'late', looks: 0 },
    ];
    const look = looking({ quick: () => ['a', 'b'], late: () => ['a'] });

    expect(await unseenByBroker(cluster(brokers), ['a', 'b'], look, -1)).toEqual([[], ['b']]);
  });

  test('given a look that fails otherwise than by a broker that is away, then it is made again', async () => {
    const broker = { name: 'one', looks: 0 };
    const look = looking({
      one: (count) => {
        if (count === 1) {
          throw new KpipeError('KPIPE_KAFKA_FAILED', 'the topic is being deleted');
        }
        return ['a'];
      },
    });
    const failing = async (admin: ClusterAdmin, open: readonly string[]) => look(admin, open);

    expect(await unseenByBroker(cluster([broker]), ['a'], failing, 60_000)).toEqual([[]]);
    expect(broker.looks).toBe(2);
  });

  test('given one that is away, then it is left out; given that all are, then the cluster is asked as a whole', async () => {
    const look = looking({
      gone: () => {
        throw away;
      },
      there: () => ['a'],
      any: () => ['a'],
    });
    const failing = async (admin: ClusterAdmin, open: readonly string[]) => look(admin, open);
    const gone = { name: 'gone', looks: 0 };

    expect(await unseenByBroker(cluster([gone, { name: 'there', looks: 0 }]), ['a'], failing, 60_000)).toEqual([[]]);
    expect(await unseenByBroker(cluster([gone]), ['a', 'b'], failing, -1)).toEqual([['b']]);
  });
});
