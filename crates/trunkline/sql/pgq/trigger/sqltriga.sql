-- The trigger that puts a change of a row into a queue as a part of an SQL statement. Arguments: the queue, then options in any order.
-- The work is done by a function written for this trigger on this table (`_trigger_learn`), which says whether the row's own
-- change is to be passed over; null from it: the table or the trigger is another than it was written for.
-- This is what stands until `_dispatch_triggers` has written it anew.
create or replace function pgq.sqltriga() returns trigger
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
begin
    raise exception 'pgq.sqltriga is not installed yet' using errcode = '55000';
    return null;
end $$;
