-- Takes the next requests of a channel that this connection serves: at most `max` rows, none when there is nothing.
-- Commit, handle each, then request_reply or request_fail with its claim. What dies unanswered goes to another
-- responder (idempotent) or ends `lost`. payload is null for bytes. Errors: 25001 outside READ COMMITTED.
create or replace function trunkline.request_take(channel text, max int default 1)
returns table (id bigint, claim text, type text, payload text, bytes bytea, headers jsonb, expires_at timestamptz,
               attempt int)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off set lock_timeout = '2s' as $$
#variable_conflict use_column
declare
    v_me  int := trunkline._session_own();
    v_to  record;
    v_own record;
begin
    if request_take.max is null or request_take.max < 1 then
        raise exception 'max must be at least 1, got %', coalesce(request_take.max::text, 'null') using errcode = '22023';
    end if;
    select * into v_to from trunkline._request_lane(channel);
    select r.types, r.lane into v_own from trunkline.responder r where r.channel = v_to.lane and r.session = v_me;
    if not found then
        raise exception 'this connection does not serve "%": call request_serve first', channel using errcode = '42704';
    end if;
    return query                            -- what was asked of every responder first, then what any may answer
    select t.id, t.claim, t.kind, case when t.flags & 3 <> 0 then trunkline._request_text(t.payload) end, t.payload,
           trunkline._request_headers(t.headers), t.deadline, t.attempt
      from trunkline._request_take_e(v_me, v_own.lane, v_own.types, least(request_take.max, 128)) t;
    if found then
        return;
    elsif v_to.durable then
        return query
        select t.id, t.claim, t.kind, case when t.flags & 3 <> 0 then trunkline._request_text(t.payload) end, t.payload,
               trunkline._request_headers(t.headers), t.deadline, t.attempt
          from trunkline._request_take_d(v_me, v_to.lane, v_own.types, least(request_take.max, 128)) t;
    else
        return query
        select t.id, t.claim, t.kind, case when t.flags & 3 <> 0 then trunkline._request_text(t.payload) end, t.payload,
               trunkline._request_headers(t.headers), t.deadline, t.attempt
          from trunkline._request_take_e(v_me, v_to.lane, v_own.types, least(request_take.max, 128)) t;
    end if;
end $$;
