-- Notes the transaction after which everybody sees the new current segment. In a transaction after that of step 1. Returns 0.
create or replace function pgq.maint_rotate_tables_step2() returns integer
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
begin
    update pgq.queue set queue_switch_step2 = txid_current() where queue_switch_step2 is null;
    return 0;
end $$;
