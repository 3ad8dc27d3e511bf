-- Of a slice, keeps the types that this responder serves. Another type goes to the `again` table when some other live
-- responder of the lane serves it, and ends `unsupported` when nobody here does; both ring.
create or replace function trunkline._request_sort_out_e(lane int, types text[], slice trunkline.request_slice)
returns trunkline.request_slice
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp set enable_seqscan = off as $$
#variable_conflict use_column
declare
    v      trunkline.request_slice;
    v_ends trunkline.request_end[];
begin
    if slice.kinds <@ types then
        return slice;
    end if;
    v.seen := slice.seen; v.pos_xid := slice.pos_xid; v.pos_id := slice.pos_id;
    select array_agg(u.id), array_agg(u.attempt), array_agg(u.caller), array_agg(u.corr), array_agg(u.f),
           array_agg(u.deadline), array_agg(u.kind), array_agg(u.payload), array_agg(u.header)
      into v.ids, v.attempts, v.callers, v.corrs, v.flags, v.deadlines, v.kinds, v.payloads, v.headers
      from unnest(slice.ids, slice.attempts, slice.callers, slice.corrs, slice.flags, slice.deadlines, slice.kinds,
                  slice.payloads, slice.headers) u(id, attempt, caller, corr, f, deadline, kind, payload, header)
     where u.kind = any (types);
    for v_i in 1 .. cardinality(slice.ids) loop
        if slice.kinds[v_i] = any (types) then
            continue;
        elsif exists (select from trunkline.responder r
                       where r.channel = _request_sort_out_e.lane and (r.types is null or slice.kinds[v_i] = any (r.types))
                         and trunkline._session_alive(r.session)) then
            insert into trunkline.again_e (id, attempt, lane, type, expires_at)
            values (slice.ids[v_i], slice.attempts[v_i], lane, slice.kinds[v_i], slice.deadlines[v_i])
                on conflict do nothing;
            perform trunkline._door_ring(lane & 63);
        else
            v_ends := v_ends || row(slice.ids[v_i], slice.attempts[v_i], 0, slice.callers[v_i], slice.corrs[v_i], 2, 1,
                'unsupported', convert_to('no responder here serves type "' || slice.kinds[v_i] || '"', 'UTF8'),
                null)::trunkline.request_end;
        end if;
    end loop;
    if v_ends is not null then
        perform trunkline._request_end_e(v_ends);
    end if;
    return v;
end $$;
