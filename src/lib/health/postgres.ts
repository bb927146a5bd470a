import { formatDuration } from '../config/units.ts';
import type { PostgresFacts } from '../postgres/probe.ts';
import { clockFinding, failing, fine, warning, type Finding } from './check.ts';

/** PostgreSQL 12 is past its end of life. */
const oldestVersion = 130_000;

/** What `kpipe migrate` would do now, by name; empty when the schema is complete. */
export type PendingMigrations = readonly string[];

/** @param pending null: not known */
export function primaryFindings(facts: PostgresFacts, pending: PendingMigrations | null): readonly Finding[] {
  return [
    ...commonFindings('primary', facts),
    facts.inRecovery
      ? failing(
          'primary role',
          'is a standby: it takes no writes',
          'name the primary in postgres.primary; was there a failover?',
        )
      : fine('primary role', 'takes writes'),
    ...(pending === null ? [] : [schemaFinding(facts, pending)]),
    writeFinding(facts),
  ];
}

/** @param maxLagMs from kpipe.yaml; beyond it reads go to the primary */
export function replicaFindings(name: string, facts: PostgresFacts, maxLagMs: number): readonly Finding[] {
  return [
    ...commonFindings(name, facts),
    facts.inRecovery
      ? fine(`${name} role`, replayText(facts, maxLagMs))
      : failing(
          `${name} role`,
          'is not a standby: it takes writes of its own',
          'name a standby in postgres.replicas; was it promoted?',
        ),
  ];
}

/** An old transaction is no lag where the primary is idle: `replica status` measures. */
function replayText({ replayAgeMs }: PostgresFacts, maxLagMs: number): string {
  const age =
    replayAgeMs === null ? 'nothing replayed yet' : `last transaction replayed ${formatDuration(replayAgeMs)} ago`;
  return `standby, ${age} (maxLag ${formatDuration(maxLagMs)})`;
}

function commonFindings(name: string, facts: PostgresFacts): readonly Finding[] {
  const next = 'kpipe needs PostgreSQL 13 or newer';
  return [
    fine(name, `${facts.address} as ${facts.user}`),
    facts.versionNumber >= oldestVersion
      ? fine(`${name} version`, `PostgreSQL ${facts.version}`)
      : failing(`${name} version`, `PostgreSQL ${facts.version}`, next),
    clockFinding(`${name} clock`, facts.clock),
    ...(facts.encrypted || facts.loopback
      ? []
      : [warning(`${name} TLS`, 'password and rows travel unencrypted', 'add ?sslmode=verify-full to its URL')]),
  ];
}

function schemaFinding({ mayCreate }: PostgresFacts, pending: PendingMigrations): Finding {
  if (pending.length === 0) {
    return fine('primary schema', 'complete');
  }
  const next = mayCreate
    ? 'kpipe migrate'
    : 'grant CREATE on the database to this user, or run `kpipe migrate` as its owner';
  return failing('primary schema', `missing: ${pending.join(', ')}`, next);
}

function writeFinding({ mayWrite, mayCreate, user }: PostgresFacts): Finding {
  switch (mayWrite) {
    case true:
      return fine('primary rights', `${user} may write kpipe's tables`);
    case false:
      return failing(
        'primary rights',
        `${user} may not write kpipe's tables`,
        `grant USAGE on schema kpipe and INSERT, UPDATE on its tables to ${user}`,
      );
    case null:
      return mayCreate
        ? fine('primary rights', `${user} may make the schema`)
        : failing('primary rights', `${user} may not make the schema kpipe`, `grant CREATE on the database to ${user}`);
  }
}
