-- Tags events of a batch in hand: each comes again to this consumer after a delay, once the batch is finished, with its
-- attempt one higher; beyond the consumer's max_attempts, or with a delay of null, it becomes a dead letter with its cause.
-- The number tagged; ids that are not in the batch are not counted. Tagged twice, the first counts.
-- Errors: TL001 when the batch is no longer yours; 22023 for a delay out of 0 to 365 days.
create or replace function trunkline.stream_retry(batch text, ids bigint[], delay interval default '1 minute',
                                                  cause text default null) returns int
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v       trunkline.stream_take := trunkline._stream_held(batch);
    v_most  int := (select c.max_attempts from trunkline.stream_consumer c where c.id = v.consumer);
    v_count int;
begin
    if delay not between interval '0' and interval '365 days' then
        raise exception 'delay must be between 0 and 365 days, got %', delay using errcode = '22023';
    end if;
    insert into trunkline.stream_tag (turn, attempt, dead, consumer, id, tries, due_at, cause, at, type, key, content, payload, headers)
    select v.turn, v.attempt, delay is null or e.attempt >= v_most, v.consumer, e.id, e.attempt + 1,
           clock_timestamp() + coalesce(delay, interval '0'), left(stream_retry.cause, 2000),
           e.at, e.type, e.key, e.content, e.payload, e.headers
      from trunkline._stream_events(batch, (select min(i) - 1 from unnest(ids) i), null) e
     where e.id = any (ids)
        on conflict do nothing;
    get diagnostics v_count = row_count;
    return v_count;
end $$;
