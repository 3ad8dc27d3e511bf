-- How one request stands, for SQL callers: outcome null while it is open. Raises TL007 for an id that is unknown,
-- forgotten or of another role (one answer for all three), TL009 for one sent in this same transaction.
create or replace function trunkline._request_look(id bigint, out outcome text, out code text, out payload text,
    out bytes bytea, out headers jsonb, out expires_at timestamptz)
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
    v record;
begin
    if _request_look.id & 2 = 0 then
        select * into v from trunkline._request_outcome_e(array[_request_look.id]) order by status nulls last limit 1;
    else
        select * into v from trunkline._request_outcome_d(array[_request_look.id]) order by status nulls last limit 1;
    end if;
    if v is null or v.id is null then
        raise exception 'no request % (never sent, forgotten after its deadline, or lost in a crash)', _request_look.id
            using errcode = 'TL007';
    elsif v.own then
        raise exception 'request % goes out with the commit of this transaction: commit, then await it', _request_look.id
            using errcode = 'TL009';
    end if;
    outcome := trunkline._request_outcome(v.status);
    code := v.code; bytes := v.payload; headers := trunkline._request_headers(v.headers); expires_at := v.expires_at;
    if v.content <> 0 or v.status in (1, 2) then
        payload := trunkline._request_text(v.payload);
    end if;
end $$;
