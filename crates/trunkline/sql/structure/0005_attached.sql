-- Structure, step 5: tables of the application whose rows are jobs. The drawing of their states is in ARCHITECTURE.md.
-- Versioned and append-only: never changes after a release, calls none of our functions.

-- An attached table. Columns by number, for as long as it is that table, and by name, for when it was restored: the first
-- three are status, payload and key (null: none), the others the primary key. _job_attached_home says which table it is now.
create table trunkline.job_attached (
    id           int generated always as identity primary key,
    relation     oid not null,
    name         text not null,                            -- when it was attached
    owner        text not null,                            -- as whom its rows are read and written
    queue        int not null references trunkline.job_queue,
    kind         text not null,
    priority     int not null,
    max_attempts int,
    numbers      int2[] not null,
    names        text[] not null,
    attached_at  timestamptz not null default clock_timestamp()
);

-- Of which attached table and row a job is: the values of the primary key, as text, in its order. Null for all other jobs.
alter table trunkline.job_held add origin int, add origin_row jsonb;
create index job_held_origin on trunkline.job_held (origin, jsonb_hash(origin_row)) where origin is not null;

-- Rows whose status is to be written, because somebody else had them locked or it failed. Only inserted into by who changes a
-- job, so that nobody waits here; what is to be written is worked out when it is.
create table trunkline.job_unwritten (
    id         bigint generated always as identity primary key,
    origin     int not null,
    origin_row jsonb not null,
    due_at     timestamptz not null default clock_timestamp(),
    tries      int not null default 0,
    error      text
);
create index job_unwritten_due on trunkline.job_unwritten (due_at);
