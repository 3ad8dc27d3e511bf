-- SQL that joins these pieces of SQL, any number of them.
create or replace function pgq._concat(pieces text[]) returns text
language plpgsql immutable set search_path = pg_catalog, pgq, pg_temp as $$
declare
    v_pieces text[] := coalesce(nullif(pieces, '{}'), array['''''']);
begin
    while cardinality(v_pieces) > 1 or v_pieces = pieces loop
        v_pieces := array(select format('pg_catalog.concat(%s)', string_agg(p.sql, ', ' order by p.nr))
                            from unnest(v_pieces) with ordinality p (sql, nr) group by (p.nr - 1) / 80 order by (p.nr - 1) / 80);
    end loop;
    return v_pieces[1];
end $$;
