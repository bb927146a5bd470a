/**
 * Accounts over a replay. Whoever sets a position by hand (`kpipe replay`) ends the stretch of offsets that the counters
 * of kpipe.consumer_offset tell about: it is kept here, and a new one begins at the new position with counters at 0. So
 * next_offset - first_offset = stored + duplicates + dead_letters + skipped + gaps holds for the stretch that runs and
 * for each one that ended; a stretch that nobody read is not kept.
 *
 * rereads: of the duplicates, records whose row was there already from this very offset. A producer's repeats are the
 * other duplicates, so a stretch accounts for stored + rereads records in the table.
 *
 * busy_ms: how long the write transactions of the stretch took, together. It is what a replay's duration is told from.
 *
 * replay_id: the replay that set the running stretch's beginning.
 */
export const sql = `
alter table kpipe.consumer_offset
  add column rereads bigint not null default 0,
  add column busy_ms double precision not null default 0,
  add column replay_id text;

create table kpipe.consumer_offset_stretch (
  role text not null,
  topic text not null,
  topic_id text not null,
  partition integer not null,
  first_offset bigint not null,
  next_offset bigint not null,
  stored bigint not null,
  duplicates bigint not null,
  rereads bigint not null,
  dead_letters bigint not null,
  skipped bigint not null,
  gaps bigint not null,
  busy_ms double precision not null,
  began_by text,
  ended_by text not null,
  ended_at timestamptz not null default now(),
  primary key (role, topic, partition, ended_by)
);
comment on column kpipe.consumer_offset_stretch.ended_by is 'the replay that set the position elsewhere';
`;
