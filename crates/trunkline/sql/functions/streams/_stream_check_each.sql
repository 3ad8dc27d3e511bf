-- Refuses the first of many events that cannot be appended, with its number; see _stream_append_many. With `fast`, all are looked
-- at in one statement first, and one by one only if that finds something: then it costs what reading their JSON costs.
create or replace function trunkline._stream_check_each(stream text, contents smallint[], texts text[], bytes bytea[],
    types text[], keys text[], headers text[], fast boolean) returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v record;
begin
    if fast then
        begin
            if (select count(u.json::jsonb) + count(trunkline._request_check_headers(u.headers::jsonb)) >= 0
                  from (select case when c.content = 2 then c.text end as json, c.headers
                          from unnest(contents, texts, headers) c(content, text, headers)) u) then
                return;
            end if;
        exception when data_exception then
            null;                                          -- whose it is, the loop below finds
        end;
    end if;
    for v in select * from unnest(contents, texts, bytes, types, keys, headers) with ordinality
                           u(content, text, bytes, type, key, headers, n) loop
        begin
            if v.content is null or v.content not between 0 and 2 then
                raise exception 'content must be 0, 1 or 2, got %', coalesce(v.content::text, 'null') using errcode = '22023';
            end if;
            perform trunkline._stream_check(stream, octet_length(case when v.content = 0 then v.bytes else convert_to(v.text, 'UTF8') end),
                                            case when types is null then '' else v.type end, v.key);
            if v.content = 2 then
                begin
                    perform v.text::jsonb;
                exception when data_exception then
                    raise exception 'payload is not JSON' using errcode = '22P02';
                end;
            end if;
            perform trunkline._request_check_headers(v.headers::jsonb);
        exception when others then
            raise exception 'event %: %', v.n, sqlerrm using errcode = sqlstate;
        end;
    end loop;
end $$;
