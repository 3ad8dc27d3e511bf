-- Goes on with handing on what a buried session had taken, by some thousand requests or jobs in each segment: true when
-- there was something to look at, so that there may be more; null when another transaction is at it.
-- One transaction moves the mark and does what it stands for: who dies here has done nothing. Locks: the row of the burial.
create or replace function trunkline._session_abandon(session int) returns boolean
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
#variable_conflict use_column
declare
    v_at   trunkline.buried;
    v_next trunkline.buried;
begin
    select * into v_at from trunkline.buried b where b.session = _session_abandon.session for update skip locked;
    if not found then
        return null;
    end if;
    v_next := v_at;
    v_next.e0 := trunkline._request_abandon_e0(session, v_at.e0, 1000);
    v_next.e1 := trunkline._request_abandon_e1(session, v_at.e1, 1000);
    v_next.d0 := trunkline._request_abandon_d0(session, v_at.d0, 1000);
    v_next.d1 := trunkline._request_abandon_d1(session, v_at.d1, 1000);
    v_next.job_e0 := trunkline._job_abandon_e0(session, v_at.job_e0, 4000);
    v_next.job_e1 := trunkline._job_abandon_e1(session, v_at.job_e1, 4000);
    v_next.job_d0 := trunkline._job_abandon_d0(session, v_at.job_d0, 4000);
    v_next.job_d1 := trunkline._job_abandon_d1(session, v_at.job_d1, 4000);
    perform trunkline._job_abandon_held(session);
    if v_next = v_at then
        return false;
    end if;
    update trunkline.buried b set e0 = v_next.e0, e1 = v_next.e1, d0 = v_next.d0, d1 = v_next.d1, job_e0 = v_next.job_e0,
           job_e1 = v_next.job_e1, job_d0 = v_next.job_d0, job_d1 = v_next.job_d1
     where b.session = _session_abandon.session;
    return true;
end $$;
