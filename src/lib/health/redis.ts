import { formatSize } from '../config/units.ts';
import type { RedisFacts } from '../redis/probe.ts';
import { clockFinding, failing, fine, warning, type Finding } from './check.ts';

/** Lines before 6.2 get no security fixes any more. */
const oldest = [6, 2] as const;

export function redisFindings(facts: RedisFacts): readonly Finding[] {
  return [
    fine('redis', facts.address),
    versionFinding(facts.version),
    roleFinding(facts),
    memoryFinding(facts),
    ...(facts.clock === null ? [] : [clockFinding('clock', facts.clock)]),
  ];
}

function versionFinding(version: string | null): Finding {
  if (version === null) {
    return warning('version', 'this user may not ask (INFO)', 'allow +info and +time to the user of redis.url');
  }
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > oldest[0] || (major === oldest[0] && minor >= oldest[1])
    ? fine('version', `Redis ${version}`)
    : failing('version', `Redis ${version}`, `kpipe needs Redis ${oldest.join('.')} or newer`);
}

function roleFinding({ role }: RedisFacts): Finding {
  return role === 'replica'
    ? failing('role', 'is a replica: it takes no writes', 'name the master in redis.url')
    : fine('role', role === null ? 'not told' : 'takes writes');
}

/** Nothing lives only in Redis, so eviction is harmless and a full Redis that evicts nothing is not: writes fail. */
function memoryFinding({ maxMemoryBytes, evictionPolicy }: RedisFacts): Finding {
  if (maxMemoryBytes === null || evictionPolicy === null) {
    return fine('memory', 'limit not told');
  }
  if (maxMemoryBytes === 0) {
    return fine('memory', 'no limit (maxmemory 0)');
  }
  const detail = `maxmemory ${formatSize(maxMemoryBytes)}, ${evictionPolicy}`;
  return evictionPolicy === 'noeviction'
    ? warning('memory', `${detail}: writes fail when it is full`, 'set maxmemory-policy to allkeys-lfu')
    : fine('memory', detail);
}
