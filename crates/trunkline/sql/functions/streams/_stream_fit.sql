-- The last of the ticks after `lo` that a consumer's next batch reaches to, null when there is nothing yet; and whether
-- that one tick alone is larger than its limits. Ticks without events go along with others; min_events, min_interval and
-- min_lag hold back what is too few or too young.
create or replace function trunkline._stream_fit(consumer trunkline.stream_consumer, lo bigint, out hi bigint, out large boolean)
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v record;
begin
    select max(t.id) filter (where t.events <= consumer.max_events and t.bytes <= consumer.max_bytes) as fits,
           min(t.id) as first, min(t.at) as since, max(t.events) as events, count(*) as ticks
      into v
      from (select t.id, t.at, sum(t.events) over w as events, sum(t.bytes) over w as bytes,
                   bool_and(consumer.min_lag = interval '0' or t.at <= clock_timestamp() - consumer.min_lag) over w as old
              from trunkline.stream_tick t
             where t.stream = consumer.stream and t.id > _stream_fit.lo
            window w as (order by t.id) order by t.id limit 2000) t
     where t.old;
    if v.first is null or v.events = 0 and v.ticks < 2000
       or v.events < consumer.min_events and v.since > clock_timestamp() - consumer.min_interval then
        return;
    end if;
    hi := coalesce(v.fits, v.first);
    large := v.fits is null;
end $$;
