-- Whether a consumer's subscription is part of another's: same number, and its name begins with the other's and a dot.
create or replace function pgq._is_subconsumer(for_queue integer, sub integer, consumer text) returns boolean
language plpgsql stable set search_path = pg_catalog, pgq, pg_temp as $$
begin
    return exists (
        select from pgq.subscription s join pgq.consumer c on c.co_id = s.sub_consumer
         where s.sub_queue = for_queue and s.sub_id = sub and c.co_name <> consumer and starts_with(consumer, c.co_name || '.'));
end $$;
