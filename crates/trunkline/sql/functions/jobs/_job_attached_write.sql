-- Locks a row of an attached table, or with a status writes that: what the generated function calls that is the table's owner's, so
-- that triggers and types of the table run with his rights, and refuses to run as anybody else. Never waits for a row, and for
-- anything else 100 ms. `mine` and `written`; `locked` by somebody else; `gone`.
-- With `alone` the transaction does nothing else: what triggers put off is then done here, and not at its end, when it would run
-- with the rights of the session. Errors: 42501; 55000 when they put something off; 42703; whatever triggers raise.
create or replace function trunkline._job_attached_write(known oid, numbers int2[], names text[], home oid, origin_row jsonb,
                                                         status text, alone boolean) returns text
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp set lock_timeout = '100ms'
set enable_seqscan = on set enable_bitmapscan = on set jit = off
set datestyle = 'ISO, YMD' set intervalstyle = 'postgres' set timezone = 'UTC' set extra_float_digits = 3 set bytea_output = 'hex' as $$
declare
    v_columns text[];
    v_name    text;
    v_where   text;
    v_found   boolean;
begin
    if not exists (select from pg_class c join pg_roles r on r.oid = c.relowner where c.oid = home and r.rolname = current_user) then
        raise exception 'the attached table % has another owner now: detach it, and attach it again', home::regclass
            using errcode = '42501';
    end if;
    v_columns := trunkline._job_attached_columns(home, known, numbers, names);
    v_name := trunkline._job_attached_name(home, true);
    v_where := trunkline._job_attached_where(home, v_columns[4:]);
    if status is null then
        execute format('select true from %s x where %s for no key update skip locked', v_name, v_where) into v_found using origin_row;
        if v_found then
            return 'mine';
        end if;
        execute format('select true from %s x where %s', v_name, v_where) into v_found using origin_row;
        return case when v_found then 'locked' else 'gone' end;
    end if;
    execute format('update %s x set %I = $2::%s where %s and x.%I::text is distinct from $2', v_name, v_columns[1],
                   (select format_type(a.atttypid, a.atttypmod) from pg_attribute a
                     where a.attrelid = home and a.attname = v_columns[1]), v_where, v_columns[1])
      using origin_row, status;
    if exists (select from pg_trigger t where t.tgdeferrable and not t.tgisinternal) then
        if not alone then
            raise exception 'a trigger can be put off to the end of the transaction' using errcode = '55000';
        end if;
        set constraints all immediate;
    end if;
    return 'written';
end $$;
