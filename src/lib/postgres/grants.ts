import { KpipeError } from '../errors.ts';

/** The rights that each kind of user of the database needs, as SQL that a superuser runs; it may be run again. */
export interface Grants {
  readonly roles: readonly GrantedRole[];
  readonly sql: string;
}

export interface GrantedRole {
  readonly name: string;
  /** Who logs in as a member of it. */
  readonly for: string;
}

export interface GrantOptions {
  /** `kpipe`: the roles are kpipe_writer, kpipe_reader, … Roles are the cluster's, not the database's. */
  readonly prefix: string;
  /** `schema.table` of the declared projections. */
  readonly projections: readonly string[];
}

const purposes = [
  { kind: 'writer', for: 'kpipe consume events, kpipe consume logs' },
  { kind: 'reader', for: 'kpipe logs search, kpipe lag, kpipe verify, the gateway’s reads' },
  { kind: 'monitor', for: 'kpipe replica status, kpipe check, kpipe metrics' },
  { kind: 'backup', for: 'kpipe backup; its login needs the attribute REPLICATION, which is not inherited' },
] as const;

/** @throws KPIPE_USAGE when the prefix is no plain name */
export function grants({ prefix, projections }: GrantOptions): Grants {
  if (!/^[a-z_][a-z0-9_]{0,50}$/.test(prefix)) {
    throw new KpipeError('KPIPE_USAGE', `--prefix: ${prefix} is no plain name`, {
      next: 'write lower-case letters, digits and _, such as kpipe',
    });
  }
  const roles = purposes.map(({ kind, for: who }) => ({ name: `${prefix}_${kind}`, for: who }));
  const [writer, reader, monitor, backup] = purposes.map(({ kind }) => `${prefix}_${kind}`);
  const all = roles.map(({ name }) => name).join(', ');
  const sql = [
    header(roles, `${prefix}_writer`),
    ...roles.map(({ name }) => createRole(name)),
    forEachDatabase(all, `${writer}`),
    `grant usage on schema kpipe to ${all};`,
    tables(`${writer}`, `${reader}, ${backup}`),
    `grant execute on function kpipe.make_log_partitions(date, date), kpipe.drop_log_partitions(date) to ${writer};`,
    ...projections.map((table) => projection(table, `${writer}`, `${reader}`)),
    `-- Senders, receivers and settings of a replication; the heartbeat for --probe.
grant pg_monitor to ${monitor};
grant select on kpipe.heartbeat, kpipe.consumer_offset, kpipe.migration to ${monitor};
grant update (beat_at) on kpipe.heartbeat to ${monitor};`,
    `-- Fingerprints read every table; replay on the standby is held meanwhile.
grant pg_monitor, pg_read_all_data to ${backup};
grant execute on function pg_switch_wal(), pg_create_restore_point(text), pg_wal_replay_pause(), pg_wal_replay_resume()
  to ${backup};`,
  ];
  return { roles, sql: `${sql.join('\n\n')}\n` };
}

function header(roles: readonly GrantedRole[], example: string): string {
  const width = Math.max(...roles.map(({ name }) => name.length));
  return [
    '-- The rights that kpipe needs, and no more. Run it as a superuser in the pipeline’s database, after `kpipe migrate`,',
    '-- and again when a migration or a projection has added a table.',
    '-- These roles cannot log in; make logins that are members of them:',
    `--   create role shop_consumer login password '…' in role ${example};`,
    ...roles.map(({ name, for: who }) => `--   ${name.padEnd(width)}  ${who}`),
  ].join('\n');
}

function createRole(name: string): string {
  return `do $$ begin
  if not exists (select from pg_roles where rolname = '${name}') then
    create role ${name} nologin;
  end if;
end $$;`;
}

/** Staged batches go through a temporary table. */
function forEachDatabase(all: string, writer: string): string {
  return `do $$ begin
  execute format('grant connect on database %I to ${all}', current_database());
  execute format('grant temporary on database %I to ${writer}', current_database());
end $$;`;
}

/** A stored event or line is never changed; a partition is reached through its table alone. */
function tables(writer: string, readers: string): string {
  return `do $$
declare
  name text;
begin
  for name in
    select c.relname from pg_class c
     where c.relnamespace = 'kpipe'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
  loop
    execute format('grant select on kpipe.%I to ${writer}, ${readers}', name);
    if name <> 'migration' then
      execute format('grant insert on kpipe.%I to ${writer}', name);
    end if;
    if name not in ('migration', 'events', 'logs') then
      execute format('grant update on kpipe.%I to ${writer}', name);
    end if;
  end loop;
end $$;`;
}

function projection(table: string, writer: string, reader: string): string {
  const [schema = '', name = ''] = table.split('.');
  return `grant usage on schema "${schema}" to ${writer}, ${reader};
grant select, insert, update, delete on "${schema}"."${name}" to ${writer};
grant select on "${schema}"."${name}" to ${reader};`;
}
