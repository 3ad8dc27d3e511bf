-- Refuses a setting's value that is not of its kind (int, interval, boolean, or words: those in `low`, with bars between
-- them) or not from `low` to `high`, which the error names with their unit: 22004 for null, 22023.
create or replace function trunkline._stream_check_setting(setting text, value text, kind text, low text, high text) returns void
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_good boolean;
begin
    if value is null then
        raise exception '% must not be null', setting using errcode = '22004';
    end if;
    begin
        v_good := case kind
            when 'int' then value::bigint between low::bigint and high::bigint
            when 'interval' then value::interval between low::interval and high::interval
            when 'boolean' then value::boolean is not null
            else value = any (string_to_array(low, '|')) end;
    exception when data_exception then
        v_good := false;
    end;
    if not v_good then
        raise exception '% must be %, got %', setting,
            case kind when 'int' then format('%s to %s %s', low, high, substring(setting, 'bytes|attempts|events|count|lanes'))
                      when 'interval' then format('from %s to %s', low, high)
                      when 'boolean' then 'true or false'
                      else 'one of ' || replace(low, '|', ', ') end,
            left(value, 100) using errcode = '22023';
    end if;
end $$;
