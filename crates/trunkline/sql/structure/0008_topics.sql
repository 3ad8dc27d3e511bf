-- Structure, step 8: topics. What is declared of them, and the ring of volatile messages.
-- Versioned and append-only: never changes after a release, calls none of our functions.

-- Declared topics; one that is not is volatile. A durable one is the stream of the same name.
create table trunkline.topic (
    name      text primary key,
    kind      text not null check (kind in ('channel', 'volatile', 'durable')),
    max_bytes int not null default 1048576,
    role      text not null,
    made_at   timestamptz not null default clock_timestamp()
);

-- Named subscriptions to durable topics by wildcards: what is declared later and matches gets a consumer of that name.
create table trunkline.topic_wildcard (
    name    text not null,
    pattern text not null,
    role    text not null,
    primary key (name, pattern)
);

-- The ring: one row, unlogged like what it speaks of. After a crash it is gone, and the next reader makes another one.
create unlogged table trunkline.topic_ring (
    only_row    boolean primary key default true check (only_row),
    incarnation bigint not null,               -- the microseconds since 1970 when it was made
    current     int not null default 0,        -- the segment that is filled
    turned_at   timestamptz not null default clock_timestamp(),
    sealed      pg_snapshot,                   -- a look at the other one: who has seen that much misses nothing of what it sees
    sealed_at   timestamptz,
    empties     bigint not null default 0,     -- how many segments were emptied
    emptied     pg_snapshot                    -- who has seen less than this may have missed something of the last one
) with (fillfactor = 10);

create unlogged sequence trunkline.topic_id;

-- The messages. Inserted, never updated; a segment is emptied as a whole. Unlogged are the segments: the whole cannot be so called.
create table trunkline.topic_message (
    segment    int not null,
    id         bigint not null default nextval('trunkline.topic_id'),
    xid        xid8 not null default pg_current_xact_id(),
    topic      text not null,
    sent_at    timestamptz not null default clock_timestamp(),
    sender     uuid,                           -- the address of the session that sent it, if it has one
    content    smallint not null,              -- 0 bytes, 1 text, 2 JSON
    payload    bytea not null,
    headers    text,
    message_id text                            -- as the sender chose it
) partition by list (segment);
alter table trunkline.topic_message alter payload set storage external;
create unlogged table trunkline.topic_message_0 partition of trunkline.topic_message for values in (0)
    with (autovacuum_enabled = off);
create unlogged table trunkline.topic_message_1 partition of trunkline.topic_message for values in (1)
    with (autovacuum_enabled = off);
create index topic_message_xid on trunkline.topic_message (xid, id);

-- Who listens on what, as far as processes say. Unlogged: after a crash nobody does, until he says it again.
create unlogged table trunkline.topic_subscription (
    session int not null,
    number  int not null,                      -- of the session
    topics  text[] not null,
    kind    text not null,
    name    text,                              -- of a durable one, or of the group of which one is active
    single  boolean not null default false,
    active  boolean not null default true,
    fence   bigint,                            -- of the active one's lease
    since   timestamptz not null default clock_timestamp(),   -- active, or standing by
    made_at timestamptz not null default clock_timestamp(),
    gaps    bigint not null default 0,         -- that it was told of, and when last
    gap_at  timestamptz,
    primary key (session, number)
);

-- Messages that one of all who listen has executed, by the sender's id. Kept for an hour.
create unlogged table trunkline.topic_claimed (
    topic      text not null,
    message_id text not null,
    at         timestamptz not null default clock_timestamp(),
    primary key (topic, message_id)
);
create index topic_claimed_at on trunkline.topic_claimed (at);
