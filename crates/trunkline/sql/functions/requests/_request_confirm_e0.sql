-- Tells the senders of one-way requests that asked for it (flags 24) that somebody took them.
create or replace function trunkline._request_confirm_e0(take bigint, token bigint, slots int[]) returns void
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
begin
    perform trunkline._request_end_e(array_agg(
        row(t.ids[s], coalesce(t.attempts[s], 1), -1, t.callers[s], t.corrs[s], 7, 0,
            null, null, null)::trunkline.request_end))
       from trunkline.take_e0 t cross join unnest(slots) s
      where t.id = _request_confirm_e0.take and t.token = _request_confirm_e0.token and t.ids[s] is not null;
end $$;
