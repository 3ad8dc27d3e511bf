-- Gives away what a responder took and does not serve, by claim: to `again` when some other live responder of the lane
-- serves the type, else it ends `unsupported`; both ring.
create or replace function trunkline._request_pass_e0(take bigint, token bigint, slots int[], types text[])
returns void
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp set enable_seqscan = off as $$
#variable_conflict use_column
declare
    v_take trunkline.take_e0;
    v_ids  bigint[];
    v_ends trunkline.request_end[];
    v_type text;
    v_slot int;
begin
    select * into v_take from trunkline.take_e0 t
     where t.id = _request_pass_e0.take and t.token = _request_pass_e0.token for update;
    perform pg_advisory_xact_lock_shared(1953656431, v_take.session);
    if not exists (select from trunkline.session s where s.id = v_take.session) then
        return;                                    -- its burial hands them on, or ends them
    end if;
    v_ids := v_take.ids;
    foreach v_slot in array slots loop
        select r.type into v_type from trunkline.request_e0 r where r.id = v_ids[v_slot];
        if not found or v_type = any (types) then
            continue;
        elsif exists (select from trunkline.responder r
                       where r.channel = v_take.lane and (r.types is null or v_type = any (r.types))
                         and trunkline._session_alive(r.session)) then
            insert into trunkline.again_e (id, attempt, lane, type, expires_at)
            values (v_ids[v_slot], coalesce(v_take.attempts[v_slot], 1), v_take.lane, v_type, v_take.deadlines[v_slot])
                on conflict do nothing;
            perform trunkline._door_ring(v_take.lane & 63);
        else
            v_ends := v_ends || row(v_ids[v_slot], coalesce(v_take.attempts[v_slot], 1), 0, v_take.callers[v_slot],
                v_take.corrs[v_slot], 2, 1, 'unsupported',
                convert_to('no responder here serves type "' || v_type || '"', 'UTF8'), null)::trunkline.request_end;
        end if;
        v_ids[v_slot] := null;
    end loop;
    update trunkline.take_e0 t set ids = v_ids where t.id = _request_pass_e0.take;
    if v_ends is not null then
        perform trunkline._request_end_e(v_ends);
    end if;
end $$;
