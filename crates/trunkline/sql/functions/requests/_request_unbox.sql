-- Takes requests out of this connection's mailbox: their outcome has been handed out. Nothing where they are not in it.
create or replace function trunkline._request_unbox(ids bigint[]) returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    perform set_config('trunkline.mailbox', concat(' ', string_agg(b.id || ' ', '' order by b.n)), false)
       from unnest(string_to_array(btrim(current_setting('trunkline.mailbox', true)), ' ')) with ordinality b(id, n)
      where b.id <> all (ids::text[]);
end $$;
