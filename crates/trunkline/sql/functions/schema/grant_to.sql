-- Grants a role what reader, writer or admin may do here; each includes the one before. `engine` is a writer that may
-- also run the statements of sql/direct by itself: faster, and it could forge replies and ends, so for programs of your own that
-- are not the owner's. Run by install for
-- trunkline_reader, trunkline_writer and trunkline_admin, and by an owner who may not create roles for roles it names.
-- Errors: 22023 for another word, 42704 for a role that does not exist.
create or replace function trunkline.grant_to(role name, what text) returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_function regprocedure;
    v_kind     text;
    v_table    text;
begin
    if what is null or what not in ('reader', 'writer', 'engine', 'admin') then
        raise exception 'grant reader, writer, engine or admin, not "%"', what using errcode = '22023';
    end if;
    execute format('grant usage on schema trunkline to %I', role);
    for v_function, v_kind in
        select p.oid::regprocedure, trunkline._kind_of_right(p.proname)
          from pg_proc p where p.pronamespace = 'trunkline'::regnamespace
    loop
        if v_kind = 'reader' or v_kind = 'writer' and what <> 'reader' or v_kind = 'admin' and what = 'admin' then
            execute format('grant execute on routine %s to %I', v_function, role);
        end if;
    end loop;
    execute format('grant select on trunkline.subscription to %I', role);
    if what <> 'reader' then
        execute format('grant select on trunkline.own_ending_e0, trunkline.own_ending_e1, trunkline.own_ending_d0,'
                       ' trunkline.own_ending_d1, trunkline.job to %I', role);
    end if;
    if what = 'engine' then
        execute format('grant select on trunkline.session, trunkline.job_queue, trunkline.job_cancel, trunkline.topic_ring,'
                       ' trunkline.topic_message to %I', role);
        execute format('grant usage on trunkline.log_id_e, trunkline.log_id_d to %I', role);
        execute format('grant select, insert on trunkline.job_limited to %I', role);
        execute format('grant execute on function trunkline._job_limit_mine(int, bigint, text),'
                       ' trunkline._job_limit_took_e0(int, int, bigint[]), trunkline._job_limit_took_e1(int, int, bigint[]),'
                       ' trunkline._job_limit_took_d0(int, int, bigint[]), trunkline._job_limit_took_d1(int, int, bigint[]) to %I', role);
        foreach v_table in array array['request', 'take', 'ending', 'job', 'job_slice', 'job_done'] loop
            execute format('grant select, insert on trunkline.%1$I, trunkline.%2$I, trunkline.%3$I, trunkline.%4$I to %5$I',
                v_table || '_e0', v_table || '_e1', v_table || '_d0', v_table || '_d1', role);
        end loop;
    end if;
end $$;
