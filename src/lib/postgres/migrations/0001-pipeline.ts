/**
 * What every later statement stands on. Fixed-width columns come first: no padding between them in the bulk path's rows.
 *
 * consumer_offset: the truth about a role's positions, moved in the data's own transaction. The counters tell, per
 * partition, that next_offset - first_offset = stored + duplicates + dead_letters + skipped + gaps. Half of each page
 * stays free, so that its frequent updates are heap-only.
 *
 * logs.search: a prefix of the body is indexed, since a tsvector holds at most 1 MB. Partitions are made by `kpipe
 * migrate` and by the role itself; what fits none of them lands in logs_default.
 */
export const sql = `
create table kpipe.consumer_offset (
  role text not null,
  topic text not null,
  topic_id text not null,
  partition integer not null,
  next_offset bigint not null,
  epoch bigint not null,
  updated_at timestamptz not null default now(),
  first_offset bigint not null,
  stored bigint not null default 0,
  duplicates bigint not null default 0,
  dead_letters bigint not null default 0,
  skipped bigint not null default 0,
  gaps bigint not null default 0,
  primary key (role, topic, partition)
) with (fillfactor = 50);

create table kpipe.events (
  time timestamptz not null,
  kafka_timestamp timestamptz not null,
  received_at timestamptz not null default clock_timestamp(),
  kafka_offset bigint not null,
  partition integer not null,
  source text collate "C" not null,
  id text collate "C" not null,
  type text collate "C" not null,
  topic text collate "C" not null,
  subject text,
  data jsonb,
  extensions jsonb,
  key bytea,
  raw bytea,
  primary key (source, id)
);
comment on column kpipe.events.raw is 'the value as it came, where U+0000 or lone surrogates in it became U+FFFD';

create table kpipe.logs (
  ts timestamptz not null,
  observed_ts timestamptz not null,
  kafka_offset bigint not null,
  partition integer not null,
  line smallint not null default 0,
  severity_number smallint not null,
  unstructured boolean not null default false,
  sanitised boolean not null default false,
  topic text collate "C" not null,
  severity_text text,
  service_name text,
  trace_id text,
  span_id text,
  body text not null,
  attributes jsonb not null,
  resource jsonb not null,
  received_at timestamptz not null default clock_timestamp(),
  search tsvector generated always as (to_tsvector('simple'::regconfig, left(body, 100000))) stored,
  primary key (kafka_offset, partition, line, ts, topic)
) partition by range (ts);
comment on column kpipe.logs.line is 'of an OTLP export, which holds several lines in one record';
create index logs_search on kpipe.logs using gin (search);
create index logs_attributes on kpipe.logs using gin (attributes jsonb_path_ops);
create index logs_service_ts on kpipe.logs (service_name, ts);
create index logs_ts on kpipe.logs (ts);
create index logs_trace_id on kpipe.logs (trace_id) where trace_id is not null;
create table kpipe.logs_default partition of kpipe.logs default;

create table kpipe.heartbeat (
  only_row boolean primary key default true check (only_row),
  beat_at timestamptz not null
);
insert into kpipe.heartbeat (beat_at) values (now());
`;
