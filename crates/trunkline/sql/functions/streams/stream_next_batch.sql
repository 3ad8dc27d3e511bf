-- The next batch of a consumer, or the one in hand again, with a new token: no row when there is nothing to do now.
-- Commit, read stream_events(batch), then stream_finish(batch), also in the transaction of your own writes. Until it is
-- finished the same batch comes again. mode: `fail` raises TL015 while another session holds it, `share` takes another
-- batch beside it, `take` takes it over: whoever held it can no longer finish. member tells those of one session apart.
-- max: a new batch has no more events than that, unless it was dealt into a lane before.
-- In a transaction that goes on, its consumer's other members wait.
-- Ticks when there is something new, so no daemon is needed. Errors: 42704, 22023, TL015. At any isolation level; outside
-- READ COMMITTED it makes no tick, and 40001 and 40P01 mean: again.
create or replace function trunkline.stream_next_batch(stream text, consumer text, mode text default 'fail',
    member text default '', max int default null)
returns table (batch text, first_tick bigint, last_tick bigint, attempt int)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_of int := (trunkline._stream_consumer(stream_next_batch.stream, stream_next_batch.consumer)).id;
begin
    return query select * from trunkline._stream_next_batch(trunkline._session_own(), v_of, mode, member, max);
end $$;
