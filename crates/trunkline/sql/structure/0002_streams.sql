-- Structure, step 2: streams. Each has a ring of three segments, partitions of stream_event; all the rest is shared.
-- Versioned and append-only: never changes after a release, calls none of our functions.

create table trunkline.stream (
    id         int generated always as identity primary key check (id < 500000000),
    name       text not null unique,
    segment    int not null unique,                        -- the one that writers fill: id * 4, + 1 or + 2
    turned_at  timestamptz not null default now(),
    free_since timestamptz[] not null default '{null,null,null}',   -- since when nobody needs what is in a segment
    first_tick bigint not null default 0,                  -- what came before it is no longer kept
    closed     boolean not null default false,             -- refuses what is appended
    max_bytes  int not null default 1048576,               -- the largest payload
    tick_mode  text not null default 'auto',               -- auto, paused, or external
    tick_count int not null default 500,
    tick_lag   interval not null default '1 second',
    turn_bytes bigint not null default 67108864,           -- when the ring turns: size and age of the segment in use
    turn_after interval not null default '2 hours',
    free_after interval not null default '1 minute',       -- how long a segment is kept that nobody needs: see _stream_turn
    keep_for   interval not null default '0',              -- retention beyond what consumers need
    keep_bytes bigint not null default 0,
    slow_after interval not null default '1 day',          -- a consumer that is further behind is slow: warn of it, drop it,
    slow_rule  text not null default 'warn',               -- or limit the stream, which refuses what is appended
    limited_by text,                                       -- while it does, the slow consumer's name
    home       oid not null,                               -- of this table: another one in a restored dump (see _stream_check)
    made_at    timestamptz not null default now()
);

-- Ids of events, of all streams, cache 1: they rise in the order of the calls.
create sequence trunkline.stream_event_id;

-- Events: inserted, never changed; a partition is emptied as a whole. content: 0 bytes, 1 text, 2 JSON.
create table trunkline.stream_event (
    segment int not null,
    id      bigint not null default nextval('trunkline.stream_event_id'),
    xid     xid8 not null default pg_current_xact_id(),
    at      timestamptz not null default clock_timestamp(),
    type    text not null default '',
    key     text,
    content smallint not null default 1,
    payload bytea not null,
    headers text
) partition by list (segment);

-- A tick: a snapshot; what it sees and the tick before does not is a window. events and bytes: of that window; segments:
-- where its events are, as bits.
create table trunkline.stream_tick (
    stream   int not null,
    id       bigint not null,
    at       timestamptz not null default clock_timestamp(),
    seen     pg_snapshot not null,
    events   bigint not null,
    bytes    bigint not null,
    segments int not null,
    primary key (stream, id)
);

-- Where the events of a large window are, up to 500 at a time: those with ids in (after, upto], how many of them in one segment,
-- while it is the same file (VACUUM FULL makes a new one). Segments are only inserted into, so rows stay where they are.
create table trunkline.stream_mark (
    stream    int not null,
    tick      bigint not null,
    upto      bigint not null,
    segment   int not null,
    after     bigint not null,
    file      oid not null,
    first_row tid not null,
    last_row  tid not null,
    events    int not null,
    bytes     bigint not null,
    primary key (stream, tick, upto, segment)
);

-- One row a stream, locked for the moment in which a tick draws its number, of a sequence stream_tick_<stream>.
create table trunkline.stream_clock (
    stream int primary key
);

create table trunkline.stream_consumer (
    id           int generated always as identity primary key,
    stream       int not null references trunkline.stream,
    name         text not null,
    role         text not null,
    max_events   int not null default 1000,                -- in hand, at most
    max_bytes    int not null default 16777216,
    min_events   int not null default 0,                   -- a batch waits for so many, but not longer than min_interval
    min_interval interval not null default '0',
    min_lag      interval not null default '0',            -- and nothing younger than this is handed out
    max_attempts int not null default 20,
    lanes        int not null default 1,                   -- above 1, members that share keep the order of each key
    slow_since   timestamptz,                              -- by its stream's slow_after
    made_at      timestamptz not null default now(),
    unique (stream, name)
);

-- Batches, handed out: the events with ids in (after, upto] of the window between two ticks, and some that come again.
-- The newest turn is the consumer's cursor. open: the turns before that were not finished when it was handed out.
-- lane of lanes: of those events the ones whose key belongs there (_stream_lane). A window in lanes is dealt as a turn for
-- each at once, whose first attempt is nobody's.
create table trunkline.stream_take (
    consumer int not null,
    turn     bigint not null,
    attempt  int not null,
    lo       bigint not null,
    hi       bigint not null,
    after    bigint not null,
    upto     bigint,                                       -- null: to the window's end
    again    bigint[] not null,
    open     bigint[] not null,
    lane     int not null default 0,
    lanes    int not null default 1,
    token    bigint not null,
    session  int not null,
    member   text not null,
    taken_at timestamptz not null default clock_timestamp(),
    primary key (consumer, turn, attempt)
);
-- How an attempt at a batch ended: finished, or handed out once more. One row at most, whoever writes it.
create table trunkline.stream_take_end (
    consumer int not null,
    turn     bigint not null,
    attempt  int not null,
    finished boolean not null,
    ended_at timestamptz not null default clock_timestamp(),
    primary key (consumer, turn, attempt)
);

-- Events that come again, to one consumer; and, until their batch is finished, those that shall (stream_tag).
create table trunkline.stream_again (
    consumer int not null,
    id       bigint not null,
    tries    int not null,
    due_at   timestamptz not null,
    cause    text,
    at       timestamptz not null,
    type     text not null,
    key      text,
    content  smallint not null,
    payload  bytea not null,
    headers  text,
    primary key (consumer, id)
);
create index stream_again_due on trunkline.stream_again (consumer, due_at);
create table trunkline.stream_tag (
    turn     bigint not null,
    attempt  int not null,
    dead     boolean not null,
    like trunkline.stream_again,
    primary key (consumer, turn, attempt, id)
);
create table trunkline.stream_dead (
    died_at  timestamptz not null default clock_timestamp(),
    like trunkline.stream_again,
    primary key (consumer, id)
);

-- Who moved a consumer, from where to where; to_tick is null for one that was removed because it was slow.
create table trunkline.stream_move (
    id       bigint generated always as identity primary key,
    consumer text not null,
    stream   text not null,
    role     text not null,
    from_tick bigint not null,
    to_tick  bigint,
    moved_at timestamptz not null default now()
);

-- How far a copy of another stream has come, written in the transaction of what it appends here (_stream_copied).
create table trunkline.stream_copy (
    stream    int not null,
    source    text not null,
    role      text not null,
    turn      bigint not null,
    copied_at timestamptz not null default clock_timestamp(),
    primary key (stream, source, role)
);
