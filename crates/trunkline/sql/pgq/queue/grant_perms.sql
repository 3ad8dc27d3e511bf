-- Gives the tables of a queue the rights that `event_template` has, and its sequences those of PgQ: 1.
create or replace function pgq.grant_perms(x_queue_name text) returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_queue pgq.queue;
    v_event text;
begin
    select * into v_queue from pgq.queue where queue_name = x_queue_name;
    if not found then
        raise exception 'Queue not found';
    end if;
    v_event := 'event_' || v_queue.queue_id;
    execute format('grant select on sequence pgq.%I, pgq.%I to public', v_event || '_tick_seq', v_event || '_id_seq');
    if exists (select from pg_roles where rolname = 'pgq_admin') then
        execute format('grant usage on sequence pgq.%I to pgq_admin', v_event || '_id_seq');
    end if;
    perform pgq._grant_perms_from('pgq', 'event_template', 'pgq', v_event);
    for v_nr in 0 .. v_queue.queue_ntables - 1 loop
        perform pgq._grant_perms_from('pgq', 'event_template', 'pgq', v_event || '_' || v_nr);
    end loop;
    return 1;
end $$;
