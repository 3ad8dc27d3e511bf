-- Roles and rights as PgQ has them, run after every install. The roles are made when the installer may make roles.
-- Where they are not there, the owner alone can use the schema, and its queues.
revoke all on all functions in schema pgq from public;
revoke all on all functions in schema pgq_coop from public;
grant usage on schema pgq, pgq_coop to public;
grant select on pgq.consumer, pgq.queue, pgq.tick, pgq.subscription, pgq._sealed, pgq._info to public;
grant execute on function pgq.seq_getval(text), pgq.get_queue_info(), pgq.get_queue_info(text), pgq.get_consumer_info(),
    pgq.get_consumer_info(text), pgq.get_consumer_info(text, text), pgq.quote_fqname(text), pgq.version(), pgq_coop.version() to public;
do $$
declare
    v_role   text;
    v_admin  text := 'pgq.queue, pgq.consumer, pgq.tick, pgq.subscription, pgq.retry_queue';
    v_rights text;
begin
    foreach v_role in array array['pgq_reader', 'pgq_writer', 'pgq_admin'] loop
        if not exists (select from pg_catalog.pg_roles where rolname = v_role)
           and exists (select from pg_catalog.pg_roles where rolname = current_user and (rolsuper or rolcreaterole)) then
            begin
                execute format('create role %I%s', v_role, case v_role when 'pgq_admin' then ' in role pgq_reader, pgq_writer' else '' end);
            exception when duplicate_object or unique_violation then
                null;                               -- another database's installer made it just now
            end;
        end if;
        continue when not exists (select from pg_catalog.pg_roles where rolname = v_role);
        v_rights := case v_role
            when 'pgq_reader' then 'batch_event_sql(bigint), pgq.batch_event_tables(bigint), '
                'pgq.find_tick_helper(int, bigint, timestamptz, bigint, bigint, interval), pgq.register_consumer(text, text), '
                'pgq.register_consumer_at(text, text, bigint), pgq.unregister_consumer(text, text), pgq.next_batch_info(text, text), '
                'pgq.next_batch(text, text), pgq.next_batch_custom(text, text, interval, int, interval), pgq.get_batch_events(bigint), '
                'pgq.get_batch_info(bigint), pgq.get_batch_cursor(bigint, text, int, text), pgq.get_batch_cursor(bigint, text, int), '
                'pgq.event_retry(bigint, bigint, timestamptz), pgq.event_retry(bigint, bigint, int), pgq.batch_retry(bigint, int), '
                'pgq.force_tick(text), pgq.finish_batch(bigint), pgq_coop.register_subconsumer(text, text, text), '
                'pgq_coop.unregister_subconsumer(text, text, text, int), pgq_coop.next_batch(text, text, text), '
                'pgq_coop.next_batch(text, text, text, interval), pgq_coop.next_batch_custom(text, text, text, interval, int, interval), '
                'pgq_coop.next_batch_custom(text, text, text, interval, int, interval, interval), pgq_coop.finish_batch(bigint)'
            when 'pgq_writer' then 'insert_event(text, text, text), pgq.insert_event(text, text, text, text, text, text, text), '
                'pgq.current_event_table(text), pgq.jsontriga(), pgq.sqltriga(), pgq.logutriga(), pgq._shape(regclass, text), '
                'pgq._urlencode(text), pgq._trigger_learn(oid, name, text), pgq._trigger_key(oid)'
            else 'ticker(text, bigint, timestamptz, bigint), pgq.ticker(text), pgq.ticker(), pgq.maint_retry_events(), '
                'pgq.maint_rotate_tables_step1(text), pgq.maint_rotate_tables_step2(), pgq.maint_tables_to_vacuum(), '
                'pgq.maint_operations(), pgq.upgrade_schema(), pgq.grant_perms(text), pgq._grant_perms_from(text, text, text, text), '
                'pgq.tune_storage(text), pgq.seq_setval(text, bigint), pgq.create_queue(text), pgq.drop_queue(text, boolean), '
                'pgq.drop_queue(text), pgq.set_queue_config(text, text, text), '
                'pgq.insert_event_raw(text, bigint, timestamptz, int, int, text, text, text, text, text, text), '
                'pgq.event_retry_raw(text, text, timestamptz, bigint, timestamptz, int, text, text, text, text, text, text), '
                'pgq._rotate(int), pgq._trigger_catch_up(), pgq._dispatch_triggers(), pgq._trigger_name(oid, name), '
                'pgq._seal_next(int), pgq._insert_refused(text), pgq._insert_check(text, int, boolean, int), '
                'pgq._insert_otherwise(text, bigint, timestamptz, int, int, text, text, text, text, text, text), '
                'pgq._insert_slowly(int, int, bigint, timestamptz, int, int, text, text, text, text, text, text)'
        end;
        execute format('grant execute on function pgq.%s to %I', v_rights, v_role);
        if v_role = 'pgq_reader' then
            execute format('grant select on pgq.consumer, pgq.queue, pgq.tick, pgq.subscription, pgq.event_template to %I', v_role);
        elsif v_role = 'pgq_admin' then
            execute format('grant select, insert, update, delete on %s to %I', v_admin, v_role);
            execute format('grant select, insert, truncate on pgq.event_template to %I', v_role);
        end if;
    end loop;
end $$;
