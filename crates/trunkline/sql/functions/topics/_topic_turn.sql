-- Turns the ring of volatile messages: writers move on when their segment is large, or was filled for `keep`, and the other one is
-- empty; that is emptied once all of it could be read for `keep`, or at once when both have more than `most_bytes`. What it did: 'turned',
-- 'sealed', 'emptied', 'busy' or null. Claims of an hour ago go too. The ring says what one must have seen to have missed nothing.
-- ACCESS EXCLUSIVE is waited for 50 ms at most; an open writer just postpones it. Locks: the ring's row, then the segment.
create or replace function trunkline._topic_turn(full_bytes bigint, keep interval, most_bytes bigint) returns text
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp
set lock_timeout = '50ms' as $$
#variable_conflict use_column
declare
    v       trunkline.topic_ring;
    v_size  bigint[];
    v_early boolean;
    v_late  boolean;
    v_last  xid8;                              -- the newest transaction of what goes
    v_next  xid8;
begin
    perform trunkline._check_read_committed('_topic_turn');
    select * into v from trunkline.topic_ring for update;
    if not found then
        perform trunkline._topic_begin();
        return null;
    end if;
    delete from trunkline.topic_claimed c where c.at < (select clock_timestamp() - interval '1 hour');
    v_size := array(
        select pg_relation_size(c.oid) + coalesce(pg_relation_size(nullif(c.reltoastrelid, 0)), 0) from pg_class c
         where c.oid in ('trunkline.topic_message_0'::regclass, 'trunkline.topic_message_1'::regclass) order by c.relname);
    if v_size[2 - v.current] = 0 then
        if v_size[1 + v.current] = 0 or v_size[1 + v.current] < full_bytes and v.turned_at > clock_timestamp() - keep then
            return null;
        end if;
        update trunkline.topic_ring set current = 1 - v.current, turned_at = clock_timestamp(), sealed = null;
        return 'turned';
    end if;
    v_early := v_size[1] + v_size[2] > most_bytes;
    if not v_early and v.sealed is null then
        update trunkline.topic_ring set sealed = trunkline._log_snapshot(pg_current_snapshot()), sealed_at = clock_timestamp();
        return 'sealed';
    elsif not v_early and v.sealed_at > clock_timestamp() - keep then
        return null;
    end if;
    if v.current = 1 then
        lock table trunkline.topic_message_0 in access exclusive mode;
        select bool_or(not pg_visible_in_snapshot(m.xid, v.sealed)), max(m.xid) into v_late, v_last from trunkline.topic_message_0 m;
    else
        lock table trunkline.topic_message_1 in access exclusive mode;
        select bool_or(not pg_visible_in_snapshot(m.xid, v.sealed)), max(m.xid) into v_late, v_last from trunkline.topic_message_1 m;
    end if;
    if not v_early and v_late then
        update trunkline.topic_ring set sealed = trunkline._log_snapshot(pg_current_snapshot()), sealed_at = clock_timestamp();
        return 'sealed';
    end if;
    if v.current = 1 then
        truncate trunkline.topic_message_0;
    else
        truncate trunkline.topic_message_1;
    end if;
    if v_early and v_last is not null then             -- who has seen all of it; what is in progress had nothing in it
        v_next := greatest((v_last::text::bigint + 1)::text::xid8, pg_snapshot_xmax(v.emptied));   -- nor less than the one before
        v.sealed := (select format('%s:%s:%s', coalesce(min(x), v_next), v_next, string_agg(x::text, ',' order by x))::pg_snapshot
                       from pg_snapshot_xip(pg_current_snapshot()) x where x < v_next);
    end if;
    update trunkline.topic_ring r
       set empties = v.empties + 1, sealed = null, emptied = case when v_last is null then r.emptied else v.sealed end;
    return 'emptied';
exception when lock_not_available then
    return 'busy';
end $$;
