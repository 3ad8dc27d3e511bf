-- Structure, step 6: who waits for the end of which job, and how far jobs have come.
-- Versioned and append-only: never changes after a release, calls none of our functions.

-- Sessions that wait for the end of a job, and are rung for it; until they have seen it, or are over. Unlogged: after a crash of
-- the database there are no sessions.
create unlogged table trunkline.job_wait (
    id      bigint not null,
    session int not null,
    primary key (id, session)
);

-- How far a job has come, as its handler said last; through all of its attempts, and gone with the job.
create table trunkline.job_progress (
    id      bigint primary key,
    percent smallint not null,
    message text,
    at      timestamptz not null default clock_timestamp()
) with (fillfactor = 80);
