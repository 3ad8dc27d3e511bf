-- Takes from a lane, in the segment in use and, when that has nothing, in the other: see _request_take_e0. For SQL.
-- Passes on what the responder does not serve, and confirms what was taken, in the same transaction.
create or replace function trunkline._request_take_e(session int, lane int, types text[], max int)
returns table (claim text, id bigint, attempt int, flags int, deadline timestamptz, kind text, payload bytea,
               headers text)
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_first   int := (select current from trunkline.ring where name = 'request_e');
    v_segment int;
    v_slot    int;
    v_more    boolean;
    v         record;
begin
    for v_look in 0 .. 1 loop
        v_segment := (v_first + v_look) % 2;
        loop
            v_slot := 0; v_more := false;
            for v in select * from trunkline._request_take_e0(session, lane, types, max, true) where v_segment = 0
                     union all
                     select * from trunkline._request_take_e1(session, lane, types, max, true) where v_segment = 1 loop
                v_slot := v_slot + 1;
                v_more := v.more;
                if not v.kind = any (types) then
                    if v_segment = 0 then
                        perform trunkline._request_pass_e0(v.take, v.token, array[v_slot], types);
                    else
                        perform trunkline._request_pass_e1(v.take, v.token, array[v_slot], types);
                    end if;
                    continue;
                elsif v.flags & 24 = 24 and v_segment = 0 then
                    perform trunkline._request_confirm_e0(v.take, v.token, array[v_slot]);
                elsif v.flags & 24 = 24 then
                    perform trunkline._request_confirm_e1(v.take, v.token, array[v_slot]);
                end if;
                claim := v.take || ':' || v.token || ':' || v_slot;
                id := v.id; attempt := v.attempt; flags := v.flags; deadline := v.deadline; kind := v.kind;
                payload := v.payload; headers := v.headers;
                return next;
            end loop;
            if claim is not null then
                return;
            end if;
            exit when not v_more;
        end loop;
    end loop;
end $$;
