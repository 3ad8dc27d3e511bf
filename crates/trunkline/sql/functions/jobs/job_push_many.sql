-- Pushes jobs of text to a queue, many at once, in the caller's own transaction: their ids, in order. All of them, or none. As
-- job_push. Errors: those, with the number of the job.
create or replace function trunkline.job_push_many(queue text, payloads text[], kind text default '', priority int default 5,
                                                   run_at timestamptz default null) returns bigint[]
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp as $$
declare
    v_n  int := coalesce(cardinality(payloads), 0);
    v_ms bigint := (extract(epoch from trunkline._job_due(run_at) - clock_timestamp()) * 1000)::bigint;
begin
    if payloads is null then
        raise exception 'job payloads must not be null' using errcode = '22004';
    elsif v_n = 0 then
        return array[]::bigint[];
    end if;
    return (trunkline._job_write(queue, array_fill(1, array[v_n]), payloads, array_fill(null::bytea, array[v_n]),
        array_fill(kind, array[v_n]), array_fill(null::text, array[v_n]), array_fill(null::text, array[v_n]),
        array_fill(priority, array[v_n]), array_fill(v_ms, array[v_n]), array_fill(null::int, array[v_n]),
        array_fill(null::text, array[v_n]), array_fill(null::text, array[v_n]))).ids;
end $$;
