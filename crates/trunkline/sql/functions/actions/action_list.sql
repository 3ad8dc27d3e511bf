-- What operators did, the newest first, at most `max`, and with an id below `before` where that is given. Errors: 22023 for max.
create or replace function trunkline.action_list(max int default 100, before bigint default null)
returns table (id bigint, at timestamptz, who text, role text, action text, target jsonb, state_before jsonb, state_after jsonb,
               result jsonb)
language plpgsql stable security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    if action_list.max is null or action_list.max not between 1 and 10000 then
        raise exception 'max must be from 1 to 10000, got %', action_list.max using errcode = '22023';
    end if;
    return query
    select a.id, a.at, a.who, a.role, a.name, a.target, a.before, a.after, a.result
      from trunkline.action a
     where action_list.before is null or a.id < action_list.before
     order by a.id desc limit action_list.max;
end $$;
