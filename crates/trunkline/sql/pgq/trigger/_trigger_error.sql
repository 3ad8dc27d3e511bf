-- What a trigger says instead of doing its work, for one kind of change (`I`, `U`, `D`, `R`); null where it can.
create or replace function pgq._trigger_error(relation text, type integer, args text[], key text, op text) returns text
language plpgsql immutable set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_arg text;
begin
    if op <> 'R' and type & 1 = 0 then
        return 'pgq Ins/Upd/Del trigger must be fired FOR EACH ROW';
    elsif cardinality(args) < 1 then
        return 'pgq trigger must have destination queue as argument';
    end if;
    foreach v_arg in array args[2:] loop
        if v_arg ~ '^(ev_extra[1-4]|ev_data|ev_type|when)=' then
            if op = 'R' then
                return 'Custom expressions do not make sense for truncater trigger';
            end if;
        elsif v_arg not in ('SKIP', 'backup', 'deny') and v_arg !~ '^(ignore|pkey)=' then
            return 'bad param to pgq trigger';
        end if;
    end loop;
    return case
        when op = 'R' and pgq._trigger_option(args, 'ignore') is not null then 'Column ignore does not make sense for truncate trigger'
        when op = 'R' and pgq._trigger_option(args, 'pkey') is not null then 'Custom pkey_list does not make sense for truncate trigger'
        when op = 'R' and 'backup' = any (args[2:]) then 'Backup does not make sense for truncate trigger'
        when op in ('U', 'D') and key = '' then 'Update/Delete on table without pkey'
        when 'SKIP' = any (args[2:]) and type & 66 = 0 then 'SKIP does not work in AFTER trigger.'
        when 'deny' = any (args[2:]) then format('Table ''%s'' to queue ''%s'': change not allowed (%s)', relation, args[1],
            case op when 'I' then 'INSERT' when 'U' then 'UPDATE' when 'D' then 'DELETE' else 'TRUNCATE' end)
    end;
end $$;
