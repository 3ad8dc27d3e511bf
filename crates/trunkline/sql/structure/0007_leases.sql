-- Structure, step 7: leases, who waits for one, and who watches.
-- Versioned and append-only: never changes after a release, calls none of our functions.

-- The fence row: what effects lock (lease_check), and only a hand-over changes. A name stays for good, or fences would repeat.
create table trunkline.lease (
    name  text primary key,
    fence bigint not null,                     -- of the newest holder
    epoch int not null                         -- in which it was handed out
);

-- The expiry row: what renewals touch, so that a guard's open transaction does not block its own lease's renewal. It carries the
-- fence that it belongs to.
create table trunkline.lease_expiry (
    name       text primary key references trunkline.lease,
    fence      bigint not null,
    holder     uuid,                           -- null: nobody, since the newest holder released it
    session    int,                            -- the holder's process; null: only the expiry tells whether it is there
    held_by    text not null default '',       -- for people
    since      timestamptz not null,
    ttl        interval not null,
    expires_at timestamptz not null,
    seen_at    timestamptz not null,           -- the newest holder's last sign of life, its release included
    resign_at  timestamptz,                    -- when the holder was asked to resign
    progress   text,                           -- what a holder noted for its successor
    noted_at   timestamptz                     -- and when; a hand-over changes neither
) with (fillfactor = 50);
create index lease_expiry_session on trunkline.lease_expiry (session);

-- Who waits, in turn. Unlogged: after a crash of the database there are no sessions, and who still waits is noted anew.
create unlogged table trunkline.lease_waiter (
    holder  uuid primary key,
    name    text not null,
    seq     bigint not null generated always as identity,
    session int not null,
    held_by text not null,
    since   timestamptz not null default clock_timestamp()
);
create index lease_waiter_turn on trunkline.lease_waiter (name, seq);
create index lease_waiter_session on trunkline.lease_waiter (session);

-- Sessions that are rung when a lease changes hands.
create unlogged table trunkline.lease_watch (
    name    text not null,
    session int not null,
    primary key (name, session)
);
create index lease_watch_session on trunkline.lease_watch (session);
