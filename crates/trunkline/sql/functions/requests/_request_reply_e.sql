-- Ends one claim, or sends one part: true when it was accepted. For SQL, and for answers that go out in the responder's
-- own transaction. See _request_reply_e0.
create or replace function trunkline._request_reply_e(take bigint, token bigint, slot int, part int, status int,
    content int, code text, payload bytea, headers text) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_variable
declare
    v_callers int[];
begin
    if take & 1 = 0 then
        select t.callers[slot:slot] into v_callers from trunkline.take_e0 t
         where t.id = _request_reply_e.take and t.token = _request_reply_e.token;
        return (select r.accepted = 1 from trunkline._request_reply_e0(
            array_remove(v_callers, 0), array[take], array[token], array[slot], array[part], array[status::smallint],
            array[content::smallint], array[code], array[payload], array[headers]) r);
    end if;
    select t.callers[slot:slot] into v_callers from trunkline.take_e1 t
     where t.id = _request_reply_e.take and t.token = _request_reply_e.token;
    return (select r.accepted = 1 from trunkline._request_reply_e1(
        array_remove(v_callers, 0), array[take], array[token], array[slot], array[part], array[status::smallint],
        array[content::smallint], array[code], array[payload], array[headers]) r);
end $$;
