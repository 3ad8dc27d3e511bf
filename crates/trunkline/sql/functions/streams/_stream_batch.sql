-- What a batch in hand is called by a copy of its stream elsewhere: whose it is (cluster, epoch, database, consumer), and
-- its turn, which rises with each new batch and stays when it comes again. Errors: TL001 when it is no longer yours; 22023.
create or replace function trunkline._stream_batch(batch text, out source text, out turn bigint)
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v trunkline.stream_take := trunkline._stream_held(_stream_batch.batch);
begin
    source := concat_ws('/', (select system_identifier from pg_control_system()), trunkline._epoch(),
                        (select oid from pg_database where datname = current_database()), v.consumer);
    turn := v.turn;
end $$;
