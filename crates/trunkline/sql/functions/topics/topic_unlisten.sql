-- Ends what topic_listen began on this connection: false where it had not.
create or replace function trunkline.topic_unlisten() returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_doors int[] := coalesce(nullif(current_setting('trunkline.topic_doors', true), ''), '{}')::int[];
    v_door  int;
begin
    foreach v_door in array v_doors loop
        execute format('unlisten %I', 'trunkline_' || v_door);
    end loop;
    perform trunkline._topic_doze(trunkline._topic_dozing(), false), set_config('trunkline.topic_doors', '', false);
    return v_doors <> '{}';
end $$;
