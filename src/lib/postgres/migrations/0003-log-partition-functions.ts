/**
 * The daily work on kpipe.logs as functions that run with their owner's rights: whoever only writes logs must own neither
 * the table nor the schema. The search path is fixed, as it must be for such functions.
 *
 * A partition is filled from logs_default before it is attached, since PostgreSQL refuses to attach one whose rows lie in
 * the default partition. Not DETACH CONCURRENTLY: that is refused beside a default partition, so a short lock is asked
 * for and the next call tries again.
 */
export const sql = `
create function kpipe.make_log_partitions(first_day date, last_day date) returns setof text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  day date;
  name text;
  low text;
  high text;
  listed text;
begin
  perform pg_advisory_xact_lock(hashtextextended('kpipe.logs', 0));
  select string_agg(quote_ident(attname), ', ' order by attnum) into listed
    from pg_attribute
   where attrelid = 'kpipe.logs'::regclass and attnum > 0 and not attisdropped and attgenerated = '';
  for day in select generate_series(first_day, last_day, interval '1 day')::date loop
    name := 'logs_' || to_char(day, 'YYYYMMDD');
    continue when to_regclass(format('kpipe.%I', name)) is not null;
    low := to_char(day, 'YYYY-MM-DD') || ' 00:00:00+00';
    high := to_char(day + 1, 'YYYY-MM-DD') || ' 00:00:00+00';
    execute format('create table kpipe.%I (like kpipe.logs including defaults including generated)', name);
    execute format(
      'with moved as (delete from kpipe.logs_default where ts >= %L and ts < %L returning %s)
       insert into kpipe.%I (%s) select %s from moved',
      low, high, listed, name, listed, listed
    );
    execute format('alter table kpipe.logs attach partition kpipe.%I for values from (%L) to (%L)', name, low, high);
    return next name;
  end loop;
end $$;

create function kpipe.drop_log_partitions(before_day date) returns setof text
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '2s' as $$
declare
  name text;
begin
  perform pg_advisory_xact_lock(hashtextextended('kpipe.logs', 0));
  for name in
    select c.relname
      from pg_inherits i
      join pg_class c on c.oid = i.inhrelid
     where i.inhparent = 'kpipe.logs'::regclass
       and c.relname ~ '^logs_[0-9]{8}$'
       and c.relname < 'logs_' || to_char(before_day, 'YYYYMMDD')
     order by c.relname
  loop
    execute format('drop table kpipe.%I', name);
    return next name;
  end loop;
end $$;

revoke all on function kpipe.make_log_partitions(date, date), kpipe.drop_log_partitions(date) from public;
`;
