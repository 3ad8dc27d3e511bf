-- Structure, step 3: jobs. Two rings, `e` and `d`, which all queues share; and one ordinary table for what must wait.
-- Versioned and append-only: never changes after a release, calls none of our functions.

create table trunkline.job_queue (
    id           int generated always as identity primary key check (id < 100000000),
    name         text not null unique,
    durable      boolean not null default true,            -- in which ring its jobs are: for good
    paused_at    timestamptz,
    max_bytes    int not null default 1048576,             -- the largest payload
    max_attempts int not null default 20,
    retry_after  interval not null default '5 seconds',    -- after the first failure; twice as long each time,
    retry_most   interval not null default '1 hour',       -- up to this
    max_running  int not null default 0,                   -- at once, across all workers; 0: as many as there are slots
    rate_limit   int not null default 0,                   -- attempts begun in any rate_period; 0: no limit
    rate_period  interval not null default '1 second',
    max_length   int not null default 0,                   -- that wait; 0: no limit
    overflow     text not null default 'refuse',           -- a push beyond it: refuse, drop_oldest
    key_max_running int not null default 1,                -- of one key at once: one, in order
    key_rate_limit  int not null default 0,                -- attempts at jobs of one key begun in any key_rate_period
    key_rate_period interval not null default '1 second',
    keep_done    interval not null default '1 hour',       -- how long jobs are kept that were held and are done or cancelled,
    keep_dead    interval not null default '30 days',      -- and dead letters
    made_at      timestamptz not null default now(),
    held         boolean not null generated always as (max_length > 0) stored,      -- its jobs are, none is in a ring
    limited      boolean not null generated always as (max_running > 0 or rate_limit > 0) stored
);                                                         -- limited: they are taken under its lock, and counted
create index job_queue_limited on trunkline.job_queue (id) where limited;   -- whether there is any is asked by every end

-- The priorities that a queue has ever had jobs of; 5 from the beginning. A row each, so that nobody waits for another's first
-- push, and at every isolation level a priority is there when a job of it is.
create table trunkline.job_priority (
    queue    int not null references trunkline.job_queue,
    priority int not null,
    primary key (queue, priority)
);

-- The job rings; `_e` in a function file is installed again as `_d`.
--   job        pushed, never changed; lane = queue * 16 + priority; flags: content, and from bit 8 on its max_attempts
--   job_slice  one row per slice taken: the lease on its jobs, and the lane's new cursor in this segment
--   job_done   which of a slice are done, part by part (slots: a bit each, null for all). A closed part ends the slice for its
--              holder: what is open then goes on elsewhere
--   job_end    one job of a slice ended by itself: 0 done, 1 moved to job_held
do $$
declare
    v_kind text;
    v_seg  int;
    v_log  text;
begin
    foreach v_kind in array array['e', 'd'] loop
        v_log := case v_kind when 'e' then 'unlogged ' else '' end;
        insert into trunkline.ring (name) values ('job_' || v_kind);
        for v_seg in 0..1 loop
            execute format($f$
                create %1$s table trunkline.job_%2$s%3$s (
                    id bigint not null default nextval('trunkline.log_id_%2$s') * 4 + %4$s,
                    xid xid8 not null default pg_current_xact_id(),
                    at timestamptz not null default clock_timestamp(), lane int not null, flags int not null,
                    kind text not null, payload bytea not null, headers text
                ) with (autovacuum_enabled = off);
                alter table trunkline.job_%2$s%3$s alter payload set storage external;
                create index job_%2$s%3$s_lane on trunkline.job_%2$s%3$s (lane, xid, id);
                create index job_%2$s%3$s_id on trunkline.job_%2$s%3$s using brin (id) with (pages_per_range = 32);

                create %1$s table trunkline.job_slice_%2$s%3$s (
                    id bigint not null, lane int not null, turn bigint not null, session int not null,
                    token bigint not null, taken_at timestamptz not null,
                    lo pg_snapshot not null, hi pg_snapshot, pos_xid xid8, pos_id bigint,
                    from_xid xid8, upto_xid xid8, ids bigint[] not null     -- of the first and the last of ids
                ) with (autovacuum_enabled = off);
                alter table trunkline.job_slice_%2$s%3$s alter ids set storage plain;
                create unique index job_slice_%2$s%3$s_turn on trunkline.job_slice_%2$s%3$s (lane, turn);
                create unique index job_slice_%2$s%3$s_id on trunkline.job_slice_%2$s%3$s (id);
                create index job_slice_%2$s%3$s_session on trunkline.job_slice_%2$s%3$s (session, id);

                create %1$s table trunkline.job_done_%2$s%3$s (
                    slice bigint not null, part int not null, closed boolean not null default false, slots bytea,
                    at timestamptz not null default clock_timestamp()
                ) with (autovacuum_enabled = off);
                create unique index job_done_%2$s%3$s_once on trunkline.job_done_%2$s%3$s (slice, part);

                create %1$s table trunkline.job_end_%2$s%3$s (
                    slice bigint not null, slot int not null, state smallint not null,
                    at timestamptz not null default clock_timestamp(), content smallint, result bytea
                ) with (autovacuum_enabled = off);
                create unique index job_end_%2$s%3$s_once on trunkline.job_end_%2$s%3$s (slice, slot);
                $f$, v_log, v_kind, v_seg, v_seg + case v_kind when 'e' then 0 else 2 end);
        end loop;
    end loop;
end $$;

-- How many jobs of each lane a segment had when the duties last counted them: those that `seen` sees, in the file that the table had
-- then. Of a table that was emptied or rewritten since it says nothing. Unlogged, so that a crash takes it with what it counts.
create unlogged table trunkline.job_counted (
    segment  text primary key,
    filenode oid not null,
    bytes    bigint not null,
    seen     pg_snapshot not null,
    jobs     jsonb not null                                -- by lane
);

-- What lives longer than a segment, with ordinary row locking: waiting for a time, a retry, a turn of its key or a limit;
-- running from here; and for a while what ended. state: 0 waiting, 1 running, 2 dead, 3 cancelled, 4 done, 5 waiting behind
-- another job of its key.
create table trunkline.job_held (
    id           bigint primary key,
    lane         int not null,
    state        smallint not null default 0,
    due_at       timestamptz not null,
    attempt      int not null default 0,                   -- the one that runs, or ran last
    max_attempts int not null,
    key          text,                                     -- jobs of one key run one at a time, in the order of their ids
    unique_key   text,
    unique_waiting boolean not null default false,         -- given up when it is taken
    expires_at   timestamptz,                              -- no attempt begins after it
    counted      boolean not null default false,           -- of a queue with a max_length
    solo         boolean not null default true,            -- runs alone of its key
    session      int,
    token        bigint,
    begun_at     timestamptz,
    ended_at     timestamptz,
    at           timestamptz not null default clock_timestamp(),
    content      smallint not null,
    kind         text not null,
    payload      bytea not null,
    headers      text,
    errors       jsonb not null default '[]',              -- attempt, at, error
    result       bytea,
    result_content smallint
) with (fillfactor = 80);
create index job_held_due on trunkline.job_held (lane, due_at, id) where state = 0;
create index job_held_running on trunkline.job_held (session, id) where state = 1;
create index job_held_over on trunkline.job_held (ended_at) where state in (2, 3, 4);
create index job_held_ended on trunkline.job_held (state, id) where state in (2, 3, 4);     -- for who looks: see job_page
create unique index job_held_unique on trunkline.job_held ((lane >> 4), unique_key)
    where unique_key is not null and state in (0, 1, 5);
create index job_held_key on trunkline.job_held ((lane >> 4), key, id) where key is not null and state in (0, 1, 5);
create unique index job_held_one on trunkline.job_held ((lane >> 4), key) where key is not null and state = 1 and solo;
create index job_held_expires on trunkline.job_held (expires_at) where expires_at is not null and state in (0, 5);
create index job_held_length on trunkline.job_held ((lane >> 4), id) where counted and state in (0, 5);
create index job_held_count on trunkline.job_held ((lane >> 4), key) where state = 1;

-- How many jobs of each queue were held, state by state, when the duties last counted them, where that is much: see _job_held_counted.
-- changes: how many rows had been written until then, by PostgreSQL's own count. Unlogged: after a crash they are counted anew.
create unlogged table trunkline.job_held_counted (
    one     boolean primary key default true check (one),
    at      timestamptz not null,
    took    interval not null,
    changes bigint not null,
    queues  jsonb not null
);

-- The slices of queues with a limit, in the order in which they were taken, until a take finds that all of their jobs have ended:
-- what runs in the rings. since: the first turn of which something ran when this one was taken.
-- Neither this table nor the next two refer to the queue's row, which is never removed: each take would lock it.
create table trunkline.job_limited (
    queue int not null,
    turn  bigint not null,
    slice bigint not null,
    since bigint not null,
    primary key (queue, turn)
);

-- When attempts began, for limits of rate: of a queue (key '') and of its keys ('=' before them). `at` is rounded up to a
-- 200th part of the period, and n began then.
create table trunkline.job_start (
    queue int not null,
    key   text not null,
    at    timestamptz not null,
    n     int not null,
    primary key (queue, key, at)
);

-- Unique keys that hold for a time, whatever became of the job.
create table trunkline.job_unique (
    queue int not null,
    key   text not null,
    id    bigint not null,
    until timestamptz not null,
    primary key (queue, key)
);
create index job_unique_until on trunkline.job_unique (until);

-- Jobs that somebody cancelled while they were in a ring, until whoever takes or holds them has seen it.
create table trunkline.job_cancel (
    id bigint primary key,
    at timestamptz not null default clock_timestamp()
);

-- How far the burial of a session has come in each segment of the rings: see buried.
alter table trunkline.buried
    add job_e0 bigint not null default 0, add job_e1 bigint not null default 0,
    add job_d0 bigint not null default 0, add job_d1 bigint not null default 0;
