-- Takes from a lane, in the segment in use and, when that has nothing, in the other: see _request_take_e0. For SQL.
-- Passes on what the responder does not serve, and confirms what was taken, in the same transaction.
create or replace function trunkline._request_take_e(session int, lane int, types text[], max int)
returns table (claim text, id bigint, attempt int, flags int, deadline timestamptz, kind text, payload bytea,
               headers text)
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_current int := (select current from trunkline.ring where name = 'request_e');
    v_segment int := case when random() < 0.05 then 1 - v_current else v_current end;   -- lest the other one starves
    v_token   bigint := uuid_hash_extended(gen_random_uuid(), 0);
    v_first   int := v_segment;
    v_looks   int := 0;
    v_again   boolean := true;
    v_slot    int;
    v_state   int;
    v         record;
begin
    perform trunkline._check_read_committed('request_take');
    if not exists (select from trunkline.session s where s.id = session
                      and (s.pid = pg_backend_pid() or s.role = trunkline._role())) then
        raise exception 'session % is no longer present', session using errcode = 'TL001';
    end if;
    loop
        v_slot := 0; v_state := null;
        for v in select * from trunkline._request_take_e0(session, lane, max, v_looks < 1000, v_again, v_token)
                     where v_segment = 0
                 union all
                 select * from trunkline._request_take_e1(session, lane, max, v_looks < 1000, v_again, v_token)
                     where v_segment = 1
                 union all
                 select * from trunkline._request_take_again_e0(session, lane, types, max, v_token) where v_segment = 10
                 union all
                 select * from trunkline._request_take_again_e1(session, lane, types, max, v_token) where v_segment = 11 loop
            v_state := v.state;
            exit when v_state <> 0;
            v_slot := v_slot + 1;
            if not v.kind = any (types) then
                if v.take & 1 = 0 then
                    perform trunkline._request_pass_e0(v.take, v_token, array[v_slot], types);
                else
                    perform trunkline._request_pass_e1(v.take, v_token, array[v_slot], types);
                end if;
                v_state := 1;
                continue;
            elsif v.flags & 24 = 24 and v.take & 1 = 0 then
                perform trunkline._request_confirm_e0(v.take, v_token, array[v_slot]);
            elsif v.flags & 24 = 24 then
                perform trunkline._request_confirm_e1(v.take, v_token, array[v_slot]);
            end if;
            claim := v.take || ':' || v_token || ':' || v_slot;
            id := v.id; attempt := v.attempt; flags := v.flags; deadline := v.deadline; kind := v.kind;
            payload := v.payload; headers := v.headers;
            return next;
        end loop;
        exit when claim is not null;
        v_looks := v_looks + 1;
        if v_state = 2 then                                -- first those that are handed out once more
            v_segment := v_segment + 10; v_again := false;
        elsif v_segment >= 10 then                         -- none of those is of our types
            v_segment := v_segment - 10;
        elsif v_state = 3 then
            perform pg_sleep(0.001);
        elsif v_state = 4 then
            raise exception 'xids went backwards: lane % was read further than this cluster is', lane
                using errcode = 'TL008', hint = 'run: trunkline schema repair';
        elsif v_state is null then                         -- nothing here: the other segment, and then no more
            exit when v_segment <> v_first;
            v_segment := 1 - v_segment; v_again := true;
        end if;
    end loop;
end $$;
