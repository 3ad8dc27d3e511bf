-- The batch that a text names, if it is still its holder's. Errors: 22023 when it is none; TL017 when it was finished by this
-- same token; TL001 when it was finished by another, taken over, or is not of a consumer of this role.
create or replace function trunkline._stream_held(batch text) returns trunkline.stream_take
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v    text[] := string_to_array(batch, ':');
    v_is trunkline.stream_take;
    v_on boolean;
begin
    if batch is null or batch !~ '^[0-9]{1,9}:[0-9]{1,18}:[0-9]{1,9}:-?[0-9]{1,19}$' then
        raise exception 'not a batch: take it from stream_next_batch' using errcode = '22023';
    end if;
    select t.* into v_is
      from trunkline.stream_take t join trunkline.stream_consumer c on c.id = t.consumer
     where t.consumer = v[1]::int and t.turn = v[2]::bigint and t.attempt = v[3]::int and t.token::text = v[4]
       and pg_has_role(trunkline._role(), c.role, 'member');
    v_on := (select e.finished from trunkline.stream_take_end e
              where e.consumer = v_is.consumer and e.turn = v_is.turn and e.attempt = v_is.attempt);
    if v_on then
        raise exception 'the batch is finished already' using errcode = 'TL017';
    elsif v_is.turn is null or v_on is not null then
        raise exception 'the batch is no longer yours: it was finished, or handed to another' using errcode = 'TL001';
    end if;
    return v_is;
end $$;
