-- Writes the function that does the work of a trigger on a table as it is now; its name. All of it comes from the catalogue.
-- While another session writes it too, and has not committed, this one writes one for itself: nobody waits.
-- Locks: an advisory key for the table, tried only.
create or replace function pgq._trigger_learn(relation oid, trigger_name name, kind text) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_name text := pgq._trigger_name(relation, trigger_name);
    v_code text;
begin
    if kind not in ('jsontriga', 'logutriga', 'sqltriga') then
        raise exception 'no such kind of trigger: %', kind using errcode = '22023';
    end if;
    if not pg_try_advisory_xact_lock(1953656431, (relation::bigint % 2147483647)::int) then
        v_name := format('%s_%s_%s', v_name, pg_backend_pid(), left(pgq._shape(relation::regclass, trigger_name), 8));
        if to_regproc('pgq.' || v_name) is not null then
            return 'pgq.' || v_name;
        end if;
    end if;
    v_code := pgq._trigger_code(relation, trigger_name, kind);
    execute format('create or replace function pgq.%I(pgq_new record, pgq_old record, pgq_op text) returns boolean'
                   ' language plpgsql volatile as %L', v_name, v_code);
    execute format('revoke all on function pgq.%I from public', v_name);
    if exists (select from pg_roles where rolname = 'pgq_writer') then
        execute format('grant execute on function pgq.%I to pgq_writer', v_name);
    end if;
    perform pgq._trigger_forget(relation);
    perform pgq._dispatch_triggers();
    return 'pgq.' || v_name;
end $$;
