-- Ends attempts at jobs one by one, for engines, whatever they came from: the places of those that were accepted; the others
-- are no longer the caller's. source: 0 to 3 the segment of a slice, 4 held; slot: its place in the slice, or of a held job 0.
-- states, delays, errors: see _job_leave_e0 and _job_settle. counted: false when the attempt does not count.
-- Errors: 55P03 after two seconds, where another transaction that is open has ended one of them.
create or replace function trunkline._job_end(sources int[], claims bigint[], tokens bigint[], slots int[], states int[],
    delays bigint[], counted boolean[], errors text[], contents int[], results bytea[]) returns int[]
language plpgsql volatile security definer set search_path = pg_catalog, trunkline, pg_temp set lock_timeout = '2s' as $$
declare
    v_in    record;
    v_ended int[];
    v_all   int[] := array[]::int[];
begin
    if 4 = all (sources) then
        return trunkline._job_settle(claims, tokens, states, delays, counted, errors, contents, results);
    end if;
    for v_in in
        select u.source, u.state = 4 as done, array_agg(u.claim order by n) as claims, array_agg(u.token order by n) as tokens,
               array_agg(u.slot order by n) as slots, array_agg(u.state order by n) as states,
               array_agg(u.ms order by n) as delays, array_agg(u.counted order by n) as counted,
               array_agg(u.counted::int order by n) as attempts, array_agg(u.error order by n) as errors,
               array_agg(u.content order by n) as contents, array_agg(u.result order by n) as results,
               array_agg(u.n::int order by n) as places
          from unnest(sources, claims, tokens, slots, states, delays, counted, errors, contents, results) with ordinality
               u(source, claim, token, slot, state, ms, counted, error, content, result, n)
         group by 1, 2 order by 1, 2
    loop
        if v_in.source = 4 then
            v_ended := trunkline._job_settle(v_in.claims, v_in.tokens, v_in.states, v_in.delays, v_in.counted, v_in.errors,
                                             v_in.contents, v_in.results);
        elsif v_in.done then
            v_ended := case v_in.source
                when 0 then trunkline._job_finish_e0(v_in.claims, v_in.tokens, v_in.slots, v_in.contents, v_in.results)
                when 1 then trunkline._job_finish_e1(v_in.claims, v_in.tokens, v_in.slots, v_in.contents, v_in.results)
                when 2 then trunkline._job_finish_d0(v_in.claims, v_in.tokens, v_in.slots, v_in.contents, v_in.results)
                else trunkline._job_finish_d1(v_in.claims, v_in.tokens, v_in.slots, v_in.contents, v_in.results) end;
        else
            v_ended := case v_in.source
                when 0 then trunkline._job_leave_e0(v_in.claims, v_in.tokens, v_in.slots, v_in.states, v_in.delays,
                                                    v_in.attempts, v_in.errors)
                when 1 then trunkline._job_leave_e1(v_in.claims, v_in.tokens, v_in.slots, v_in.states, v_in.delays,
                                                    v_in.attempts, v_in.errors)
                when 2 then trunkline._job_leave_d0(v_in.claims, v_in.tokens, v_in.slots, v_in.states, v_in.delays,
                                                    v_in.attempts, v_in.errors)
                else trunkline._job_leave_d1(v_in.claims, v_in.tokens, v_in.slots, v_in.states, v_in.delays,
                                             v_in.attempts, v_in.errors) end;
        end if;
        v_all := v_all || array(select v_in.places[e] from unnest(v_ended) e);
    end loop;
    return v_all;
end $$;
