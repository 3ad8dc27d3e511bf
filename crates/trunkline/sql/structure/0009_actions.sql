-- Structure, step 9: what operators did, written with what it did.
-- Versioned and append-only: never changes after a release, calls none of our functions.

create table trunkline.action (
    id     bigint generated always as identity primary key,
    at     timestamptz not null default clock_timestamp(),
    who    text not null,                                  -- the person, as the program that acts for them knows them
    role   text not null,                                  -- the role of the database that acted
    name   text not null,                                  -- what was done: job_retry, ...
    target jsonb not null,                                 -- to what: the arguments
    before jsonb,                                          -- its state before, and after
    after  jsonb,
    result jsonb                                           -- what the function said
);
