-- So many rising numbers of transactions that no other transaction has or will have: of ended ones; and where a young cluster has
-- too few of these, of parts of this one.
create or replace function pgq._past_numbers(wanted bigint) returns bigint[]
language plpgsql volatile set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_own     bigint := txid_current();
    v_end     bigint := txid_snapshot_xmin(txid_current_snapshot());
    v_numbers bigint[] := array(select generate_series(greatest(v_end - wanted, 4), v_end - 1));
    v_part    bigint;
begin
    while cardinality(v_numbers) < wanted loop
        begin
            update pgq._info set version = version returning xmin::text::bigint into v_part;
        exception when division_by_zero then
            null;                                   -- never: the handler makes this a transaction of its own
        end;
        v_part := v_part + (v_own >> 32 << 32);
        v_numbers := v_numbers || case when v_part < v_own then v_part + (1::bigint << 32) else v_part end;
    end loop;
    return v_numbers;
end $$;
