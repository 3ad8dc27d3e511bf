-- Structure, step 4: schedules, which push jobs at the times of a cron expression.
-- Versioned and append-only: never changes after a release, calls none of our functions.

-- A number for each definition, so that nobody fires an earlier one.
create sequence trunkline.job_schedule_generation;

create table trunkline.job_schedule (
    name         text primary key,
    generation   bigint not null default nextval('trunkline.job_schedule_generation'),
    queue        text not null,
    cron         text not null,
    zone         text not null,
    missed       text not null check (missed in ('skip', 'one', 'all')),
    content      smallint not null,
    payload      bytea not null,
    kind         text not null,
    key          text,
    priority     int not null,
    max_attempts int,
    headers      text,
    since        timestamptz not null default clock_timestamp(),   -- its times count from here on
    next_at      timestamptz,                              -- null: the next one who looks works it out
    paused_at    timestamptz,
    last_at      timestamptz,                              -- the newest time that was fired, and its job
    last_job     bigint,
    fires        bigint not null default 0,                -- how many jobs it has pushed at its times
    error        text,                                     -- why it could not be fired, when it was tried last
    tried_at     timestamptz,
    made_at      timestamptz not null default clock_timestamp()
);
