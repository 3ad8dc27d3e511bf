-- Ends one claim from SQL: raises TL001 when it is no longer this responder's, 22023 when it is not a claim.
create or replace function trunkline._request_settle(claim text, part int, status int, content int, code text,
    payload bytea, headers jsonb) returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_claim bigint[];
    v_ours  boolean;
begin
    if claim is null or claim !~ '^[0-9]{1,18}:-?[0-9]{1,19}:[0-9]{1,3}$' then
        raise exception 'not a claim: take it from request_take' using errcode = '22023';
    elsif octet_length(payload) > 67108864 then
        raise exception 'reply must be at most 67108864 bytes, got %', octet_length(payload) using errcode = 'TL004';
    end if;
    v_claim := string_to_array(claim, ':')::bigint[];
    if v_claim[1] & 2 = 0 then
        v_ours := trunkline._request_reply_e(v_claim[1], v_claim[2], v_claim[3]::int, part, status, content, code,
                                             payload, trunkline._request_check_headers(headers));
    else
        v_ours := trunkline._request_reply_d(v_claim[1], v_claim[2], v_claim[3]::int, part, status, content, code,
                                             payload, trunkline._request_check_headers(headers));
    end if;
    if not v_ours then
        raise exception 'the claim is no longer yours: the request ended, expired, or was handed on'
            using errcode = 'TL001';
    end if;
end $$;
