-- Streams whose segments cannot be emptied, and who keeps them.
select case when s.limited_by is null then 'warning' else 'critical' end as level, 'stream ' || s.stream as object,
       case when s.limited_by is not null
            then format('the stream %s takes no more: its consumer %s is too slow', s.stream, s.limited_by)
            when cardinality(s.slow) > 0 then format('consumers of the stream %s are slow: %s', s.stream, array_to_string(s.slow, ', '))
            else format('the consumer %s is %s behind the end of the stream %s', s.furthest_behind, date_trunc('second', s.lag), s.stream)
       end as finding,
       format('its segments are kept until it has read them: %s by now', pg_size_pretty((select sum(b) from unnest(s.segment_bytes) b)))
           as consequence,
       format('trunkline streams consumers %1$s  -- start the consumer, or give it up: trunkline streams unregister %1$s %2$s',
              s.stream, coalesce(s.limited_by, s.furthest_behind, s.slow[1])) as remedy
  from trunkline.stream_list() s
 where s.limited_by is not null or cardinality(s.slow) > 0
    or s.furthest_behind is not null and s.lag > make_interval(secs => greatest($1, 60) * 12)
