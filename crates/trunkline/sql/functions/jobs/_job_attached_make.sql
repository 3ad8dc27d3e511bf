-- Generates the functions of an attached table: _job_attached_fire_<id> for its triggers, _scan_<id> and _write_<id>, which are the
-- table's owner's and run as him, and _push_<id>, which is ours and only for him. Their bodies are one call each, of numbers
-- and quoted names from our catalogue, and nobody can change them who may not create in this schema; whoever owns one can at
-- most drop it, or let it run as its caller and in a path of his: so every name in them is qualified, and
-- _job_attached_write refuses to run as anybody else.
create or replace function trunkline._job_attached_make(attachment int) returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v       trunkline.job_attached;
    v_place text;
    v_name  text;
    v_may   boolean;
begin
    select * into v from trunkline.job_attached a where a.id = attachment;
    v_place := format('%s::pg_catalog.oid, %L::pg_catalog.int2[], %L::pg_catalog.text[]', v.relation, v.numbers, v.names);
    execute format('create function trunkline._job_attached_fire_%s() returns trigger language plpgsql volatile security definer
                    set search_path = pg_catalog, trunkline, pg_temp as %L', v.id,
                   format('begin perform trunkline._job_attached_fire(%s, %s, new); return null; end', v.id, v_place));
    execute format('create function trunkline._job_attached_scan_%s() returns bigint language plpgsql volatile security definer
                    set search_path = pg_catalog, trunkline, pg_temp as %L', v.id,
                   format('begin return trunkline._job_attached_scan(%s, %s); end', v.id, v_place));
    execute format('create function trunkline._job_attached_write_%s(oid, jsonb, text, boolean) returns text language plpgsql
                    volatile security definer set search_path = pg_catalog, trunkline, pg_temp as %L', v.id,
                   format('begin return trunkline._job_attached_write(%s, $1, $2, $3, $4); end', v_place));
    execute format('create function trunkline._job_attached_push_%s(jsonb, int, bytea, text) returns bigint language plpgsql
                    volatile security definer set search_path = pg_catalog, trunkline, pg_temp as %L', v.id,
                   format('begin return trunkline._job_attached_push(%s, $1, $2, $3, $4); end', v.id));
    execute format('grant usage on schema trunkline to %I', v.owner);
    foreach v_name in array array['home(int, oid)', 'columns(oid, oid, int2[], text[])', 'row(oid, text[])', 'name(oid, boolean)',
        'where(oid, text[])', 'fire(int, oid, int2[], text[], anyelement)', 'scan(int, oid, int2[], text[])',
        'write(oid, int2[], text[], oid, jsonb, text, boolean)', format('push_%s(jsonb, int, bytea, text)', v.id)]
    loop
        execute format('grant execute on function trunkline._job_attached_%s to %I', v_name, v.owner);
    end loop;
    execute format('revoke all on function trunkline._job_attached_push_%s(jsonb, int, bytea, text) from public', v.id);
    v_may := has_schema_privilege(v.owner, 'trunkline', 'create');
    if not v_may then
        execute format('grant create on schema trunkline to %I', v.owner);
    end if;
    foreach v_name in array array['fire_%s()', 'scan_%s()', 'write_%s(oid, jsonb, text, boolean)'] loop
        v_name := format(v_name, v.id);
        execute format('revoke all on function trunkline._job_attached_%s from public', v_name);
        execute format('alter function trunkline._job_attached_%s owner to %I', v_name, v.owner);
    end loop;
    if not v_may then
        execute format('revoke create on schema trunkline from %I', v.owner);
    end if;
end $$;
