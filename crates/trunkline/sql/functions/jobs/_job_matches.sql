-- The ids of a queue's jobs, rising, that are in a state and fit each of these, where given: kind, key, pushed longer ago than
-- older_than, a JSON payload that contains this, a payload of which these characters are a part, pushed at `since` or later and
-- before `until`, and dead or retrying of this cause, as job_dead groups them. Reads all of the queue.
create or replace function trunkline._job_matches(queue int, state text, kind text, key text, older_than interval, payload jsonb,
    containing text, since timestamptz, until timestamptz, cause text) returns bigint[]
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
           and position(convert_to(_job_matches.containing, 'UTF8') in r.payload) is distinct from 0
           and (_job_matches.since is null or r.at >= _job_matches.since) and (_job_matches.until is null or r.at < _job_matches.until)
           and (_job_matches.cause is null
                or _job_matches.cause = coalesce(regexp_replace(split_part(left(r.errors -> -1 ->> 'error', 200), chr(10), 1),
                                                                '[0-9]+', '#', 'g'), ''))
         order by r.id);
end $$;
