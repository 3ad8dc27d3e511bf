-- Appends what happens to a table's rows: `create trigger … execute function trunkline.stream_trigger('stream', options…)`, for
-- each row, or TRUNCATE for each statement. Type I, U, D or T; key: of the (new) row; payload: op, table (of a partition, the
-- root), old, new. Options: columns=a,b (only these), ignore=a,b (not these), key=a,b (else the primary key, which is looked
-- up for each row; several columns make a JSON array), type=name, always (also an UPDATE that changes none of these columns
-- nor the key), skip (in a BEFORE trigger: the row is not written, the table is only an input). A condition is CREATE
-- TRIGGER's WHEN.
-- Runs with the rights of who writes to the table, who must be a writer here.
-- Errors: 22023, 42703 for a wrong option; 39P01 for a wrong kind of trigger; those of stream_append.
create or replace function trunkline.stream_trigger() returns trigger
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_columns text[];
    v_ignore  text[];
    v_key     text[];
    v_type    text := left(tg_op, 1);
    v_always  boolean := 'always' = any (tg_argv[1:]);
    v_skip    boolean := 'skip' = any (tg_argv[1:]);
    v_old     jsonb;
    v_new     jsonb;
    v_was     jsonb;
    v_row     jsonb;
    v_text    text;
    v_table   text := coalesce(pg_partition_root(tg_relid), tg_relid)::regclass;
begin
    if tg_nargs = 0 then
        raise exception 'stream_trigger needs the name of a stream' using errcode = '22023';
    elsif tg_level = 'STATEMENT' and tg_op <> 'TRUNCATE' then
        raise exception 'stream_trigger must be FOR EACH ROW, but for TRUNCATE' using errcode = '39P01';
    elsif v_skip and (tg_when <> 'BEFORE' or tg_level <> 'ROW') then
        raise exception 'stream_trigger: only a BEFORE trigger FOR EACH ROW can skip' using errcode = '39P01';
    end if;
    foreach v_text in array tg_argv[1:] loop
        case
            when v_text like 'columns=_%' then v_columns := string_to_array(substr(v_text, 9), ',');
            when v_text like 'ignore=_%' then v_ignore := string_to_array(substr(v_text, 8), ',');
            when v_text like 'key=_%' then v_key := string_to_array(substr(v_text, 5), ',');
            when v_text like 'type=%' then v_type := substr(v_text, 6);
            when v_text in ('always', 'skip') then null;
            else raise exception 'stream_trigger: there is no option "%"', left(v_text, 100) using errcode = '22023';
        end case;
    end loop;
    if tg_op <> 'INSERT' and tg_level = 'ROW' then
        v_old := to_jsonb(old);
        v_was := v_old;
    end if;
    if tg_op <> 'DELETE' and tg_level = 'ROW' then
        v_new := to_jsonb(new);
    end if;
    v_row := coalesce(v_new, v_old);
    v_text := null;
    if v_row is not null then
        if not v_row ?& (v_columns || v_ignore || v_key) then
            raise exception 'stream_trigger: table % has no column "%"', tg_relid::regclass,
                (select c from unnest(v_columns || v_ignore || v_key) c where not v_row ? c limit 1) using errcode = '42703';
        end if;
        v_key := coalesce(v_key, trunkline._stream_key_columns(tg_relid));
        v_text := case cardinality(v_key) when 0 then null when 1 then v_row ->> v_key[1]
                       else (select jsonb_agg(v_row -> k order by n)::text from unnest(v_key) with ordinality u(k, n)) end;
    end if;
    if v_columns is not null then
        v_old := (select jsonb_object_agg(c, v_old -> c) from unnest(v_columns) c where v_old is not null);
        v_new := (select jsonb_object_agg(c, v_new -> c) from unnest(v_columns) c where v_new is not null);
    end if;
    if v_ignore is not null then
        v_old := v_old - v_ignore;
        v_new := v_new - v_ignore;
    end if;
    if tg_op <> 'UPDATE' or v_always or v_new <> v_old or v_new::text <> v_old::text
       or exists (select from unnest(v_key) k where v_was -> k is distinct from v_row -> k) then
        perform trunkline.stream_append_json(tg_argv[0], case tg_op
            when 'INSERT' then jsonb_build_object('op', 'I', 'table', v_table, 'new', v_new)
            when 'UPDATE' then jsonb_build_object('op', 'U', 'table', v_table, 'old', v_old, 'new', v_new)
            when 'DELETE' then jsonb_build_object('op', 'D', 'table', v_table, 'old', v_old)
            else jsonb_build_object('op', 'T', 'table', v_table) end, v_type, v_text);
    end if;
    return case when v_skip or tg_level = 'STATEMENT' then null when tg_op = 'DELETE' then old else new end;
end $$;
