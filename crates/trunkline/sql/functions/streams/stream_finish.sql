-- Finishes a batch: what was tagged with stream_retry comes again, all else is done. In the transaction of your own writes
-- it is exactly once. Errors, upon which to roll back, for your writes belong to nobody: TL001 when the batch was handed to
-- another; TL017 when it was finished by this same token, as after a commit whose answer was lost: if finishing was all,
-- that is done. In lanes it may ring, which two-phase commit forbids: set trunkline.ring = off there.
-- Locks: none beyond the insert and the row of the take; waits for who takes it over just now.
create or replace function trunkline.stream_finish(batch text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off as $$
#variable_conflict use_column
declare
    v trunkline.stream_take := trunkline._stream_held(batch);
begin
    insert into trunkline.stream_take_end (consumer, turn, attempt, finished)
    values (v.consumer, v.turn, v.attempt, true) on conflict do nothing;
    if found then                                          -- and on the books still
        perform from trunkline.stream_take t
          where t.consumer = v.consumer and t.turn = v.turn and t.attempt = v.attempt for key share;
    end if;
    if not found then
        perform trunkline._stream_held(batch);
        raise exception 'the batch is no longer yours' using errcode = 'TL001';
    end if;
    if v.again <> '{}' then
        delete from trunkline.stream_again a where a.consumer = v.consumer and a.id = any (v.again);
    end if;
    insert into trunkline.stream_again (consumer, id, tries, due_at, cause, at, type, key, content, payload, headers)
    select t.consumer, t.id, t.tries, t.due_at, t.cause, t.at, t.type, t.key, t.content, t.payload, t.headers
      from trunkline.stream_tag t
     where t.consumer = v.consumer and t.turn = v.turn and t.attempt = v.attempt and not t.dead
        on conflict do nothing;
    insert into trunkline.stream_dead (consumer, id, tries, due_at, cause, at, type, key, content, payload, headers)
    select t.consumer, t.id, t.tries, t.due_at, t.cause, t.at, t.type, t.key, t.content, t.payload, t.headers
      from trunkline.stream_tag t
     where t.consumer = v.consumer and t.turn = v.turn and t.attempt = v.attempt and t.dead
        on conflict do nothing;
    if v.lanes > 1 then                                    -- another member may wait for this lane
        perform trunkline._door_ring(-1 - (c.stream & 63)) from trunkline.stream_consumer c where c.id = v.consumer;
    end if;
end $$;
