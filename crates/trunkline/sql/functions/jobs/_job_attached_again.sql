-- Ends a job of an attached table that would come again, when its row was reset meanwhile: the younger job stands for it. A trigger
-- on job_held, before an attempt ends so.
create or replace function trunkline._job_attached_again() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
begin
    if exists (select from trunkline.job_held h
                where h.origin = new.origin and jsonb_hash(h.origin_row) = jsonb_hash(new.origin_row)
                  and h.origin_row = new.origin_row and h.id > new.id and h.state in (0, 1, 5)) then
        new.state := 3;
        new.ended_at := clock_timestamp();
    end if;
    return new;
end $$;
