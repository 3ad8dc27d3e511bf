-- Registers a consumer of a stream: true when it is new; one that is there is left as it is, whatever the position.
-- position: `end` (what commits from now on), `beginning` (all that is kept), `tick:N`, `like:OTHER` (a consumer), or a
-- time. It belongs to the role that registers it. Errors: 42704, 22023; 22004; TL007 for a tick that is no longer kept;
-- 25001 outside READ COMMITTED. Locks: the stream's row, so that nothing is emptied meanwhile.
create or replace function trunkline.stream_register(stream text, consumer text, at text default 'end') returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_in int := (trunkline._stream_named(stream_register.stream)).id;
    v_at bigint;
    v_id int;
begin
    perform trunkline._check_name('consumer', stream_register.consumer);
    perform trunkline._check_read_committed('stream_register');
    perform from trunkline.stream s where s.id = v_in for no key update;
    if exists (select from trunkline.stream_consumer c where c.stream = v_in and c.name = stream_register.consumer) then
        return false;
    end if;
    v_at := trunkline._stream_position(v_in, stream_register.at);
    insert into trunkline.stream_consumer (stream, name, role) values (v_in, stream_register.consumer, trunkline._role())
    returning id into v_id;
    perform trunkline._stream_place(v_id, v_at);
    return true;
end $$;
