import type { Config } from '../config/load.ts';
import { nearestName } from '../config/nearest.ts';
import { roleNames, type RoleName } from '../config/schema.ts';
import { KpipeError } from '../errors.ts';
import type { PositionSource } from './observation.ts';

/** A group to look at. */
export interface LagTarget {
  /** null: no role of kpipe.yaml. */
  readonly role: string | null;
  readonly group: string;
  /** null: whatever the group has committed or is assigned. */
  readonly topic: string | null;
  readonly positionsIn: PositionSource;
}

/** The roles and groups that a command names; every role of kpipe.yaml when it names none. */
export function lagTargets(config: Config, roles: readonly string[], groups: readonly string[]): readonly LagTarget[] {
  const declared = roleNames.filter((name) => config.roles[name] !== undefined);
  const named = roles.length === 0 && groups.length === 0 ? declared : roles;
  const targets = [
    ...named.map((name) => namedRole(config, name, '; --group NAME shows any group')),
    ...groups.map((group) => groupTarget(config, group)),
  ];
  if (targets.length === 0) {
    throw new KpipeError('KPIPE_USAGE', `${config.file} declares no roles`, {
      next: 'declare one under roles:, or name a consumer group with --group',
    });
  }
  return [...new Map(targets.map((target) => [target.group, target])).values()];
}

/** The role of that name. @param otherwise what else the command takes @throws KPIPE_USAGE with the nearest name */
export function namedRole(config: Config, name: string, otherwise = ''): LagTarget {
  const declared = roleNames.filter((candidate) => config.roles[candidate] !== undefined);
  const role = declared.find((candidate) => candidate === name);
  if (role === undefined) {
    const nearest = nearestName(name, declared);
    throw new KpipeError('KPIPE_USAGE', `kpipe.yaml has no role ${name}`, {
      next: nearest === undefined ? `it has: ${declared.join(', ') || 'none'}${otherwise}` : `did you mean ${nearest}?`,
    });
  }
  return roleTarget(config, role);
}

function roleTarget(config: Config, role: RoleName): LagTarget {
  const declared = config.roles[role];
  if (declared === undefined) {
    throw new KpipeError('KPIPE_USAGE', `kpipe.yaml has no role ${role}`);
  }
  return {
    role,
    group: declared.group,
    topic: declared.topic,
    positionsIn: declared.sink === 'postgres' ? 'postgres' : 'group',
  };
}

/** A group that belongs to a role is that role. */
function groupTarget(config: Config, group: string): LagTarget {
  if (group === '') {
    throw new KpipeError('KPIPE_USAGE', '--group: a group has a name', {
      next: '`kpipe groups list` shows what there is',
    });
  }
  const role = roleNames.find((name) => config.roles[name]?.group === group);
  return role === undefined ? { role: null, group, topic: null, positionsIn: 'group' } : roleTarget(config, role);
}
