-- The ids of a queue's jobs, rising, that are in a state and fit each of these, where given: kind, key, pushed longer ago than
-- older_than, and a JSON payload that contains this. Reads all of the queue.
create or replace function trunkline._job_matches(queue int, state text, kind text, key text, older_than interval, payload jsonb)
returns bigint[]
language plpgsql stable set search_path = pg_catalog, trunkline, pg_temp set jit = off as $$
#variable_conflict use_column
begin
    return array(
        select r.id from trunkline._job_rows(null, _job_matches.queue) r
         where r.state = _job_matches.state and (_job_matches.kind is null or r.kind = _job_matches.kind)
           and (_job_matches.key is null or r.key = _job_matches.key)
           and (_job_matches.older_than is null or r.at < clock_timestamp() - _job_matches.older_than)
           and (_job_matches.payload is null
                or r.content = 2 and trunkline._request_headers(trunkline._request_text(r.payload)) @> _job_matches.payload)
         order by r.id);
end $$;
