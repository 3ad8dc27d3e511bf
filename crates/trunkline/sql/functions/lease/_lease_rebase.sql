-- Voids every lease, for a new epoch: who held one in the cluster that this was copied from holds nothing here.
create or replace function trunkline._lease_rebase() returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    update trunkline.lease_expiry e
       set holder = null, session = null, held_by = '', expires_at = '-infinity', resign_at = null
     where e.holder is not null;
end $$;
