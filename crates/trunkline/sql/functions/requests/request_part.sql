-- Sends a part of a reply, or progress, before the reply itself: number 1, 2, … Those of an ended request are refused.
create or replace function trunkline.request_part(claim text, number int, payload text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    if number is null or number < 1 then
        raise exception 'part number must be at least 1, got %', coalesce(number::text, 'null') using errcode = '22023';
    end if;
    perform trunkline._request_settle(claim, number, 9, 1, null, convert_to(payload, 'UTF8'), null);
end $$;
