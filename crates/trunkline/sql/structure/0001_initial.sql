-- Structure, step 1: the catalogue, presence, and the two request rings.
-- Versioned and append-only: never changes after a release, calls none of our functions.

-- Text is text here: a database of SQL_ASCII takes any bytes for it, and cannot send them to a session that speaks UTF-8.
do $$
begin
    if pg_catalog.getdatabaseencoding() = 'SQL_ASCII' then
        raise exception using errcode = '0A000', message = 'the database has the encoding SQL_ASCII, where text may be any '
            'bytes; make one with the encoding UTF8';
    end if;
end $$;

-- One row: which structure and functions are installed, by which library, and the oldest one they still serve.
create table trunkline.schema_info (
    only_row       boolean primary key default true check (only_row),
    version        int not null,
    structure      text not null,              -- a fingerprint of the structure's steps
    functions      text not null,              -- and one of the functions, views and rights
    library        text not null,              -- the version of the library that brought them
    oldest_library text not null,
    installed_at   timestamptz not null default now()
);

-- The history of clusters this schema lived in. Positions and fences count within one epoch.
create table trunkline.epoch (
    epoch             int primary key,
    system_identifier bigint not null,
    timeline          text not null,
    began_at          timestamptz not null default now()
);

-- Presence: a process that is here now. Unlogged: after a database crash nobody is.
create sequence trunkline.session_id as int cycle;
create unlogged table trunkline.session (
    id          int primary key default nextval('trunkline.session_id'),
    address     uuid not null unique default gen_random_uuid(),
    role        text not null,
    pid         int not null,
    application text not null,
    watched     boolean not null,              -- its connection holds the presence lock; false behind a pooler
    expires_at  timestamptz not null,
    rests       boolean not null default false,   -- it has nothing in hand: nobody need watch it
    opened_at   timestamptz not null default now(),
    seen_at     timestamptz not null default clock_timestamp(),   -- its last sign of life
    version     text,                          -- of the library
    queues      text[],                        -- that it works on, and how many jobs it has in hand, as it told
    jobs        int
) with (fillfactor = 50);

-- Sessions that ended, for ten seconds and until all that they had taken was handed on: up to which take that is done, in
-- each segment. A take that was under way, and saw the session alive, carries a later id.
create unlogged table trunkline.buried (
    session   int primary key,
    e0        bigint not null default 0,
    e1        bigint not null default 0,
    d0        bigint not null default 0,
    d1        bigint not null default 0,
    buried_at timestamptz not null default clock_timestamp()
);

create table trunkline.request_channel (
    id        int generated always as identity primary key,
    name      text not null unique,
    durable   boolean not null default false,
    max_bytes int not null default 1048576,
    made_at   timestamptz not null default now()
);

create unlogged table trunkline.responder (
    channel int not null,
    session int not null,
    types   text[],                            -- null serves every type
    lane    int primary key default -nextval('trunkline.session_id')   -- what is asked of every responder comes here
);
create index responder_channel on trunkline.responder (channel, session);

-- A ring: which of its two segments writers fill.
create table trunkline.ring (
    name      text primary key,
    current   smallint not null default 0,
    turned_at timestamptz not null default now()
);
-- Ids, cache 1: they rise in the order of the calls. A logged sequence makes every 32nd caller wait for a flush, so the
-- ephemeral ring has an unlogged one; both begin, and it begins again after a crash, at the microseconds since 1970
-- (_log_begin_e).
create unlogged sequence trunkline.log_id_e;
create sequence trunkline.log_id_d;

-- The request rings, `e` ephemeral (unlogged) and `d` durable; `_e` in a function file is installed again as `_d`.
--   request  what was asked; lane > 0 is a channel, lane < 0 the session addressed
--   take     one row per slice taken: the lease on it, and the lane's new cursor in this segment
--   ending   how an attempt ended (part 0, at most one), and partial replies before that (part 1, 2, …)
--   again    requests to be handed out once more, or kept for a responder of their type
do $$
declare
    v_kind text;
    v_seg  int;
    v_log  text;
begin
    foreach v_kind in array array['e', 'd'] loop
        v_log := case v_kind when 'e' then 'unlogged ' else '' end;
        insert into trunkline.ring (name) values ('request_' || v_kind);
        for v_seg in 0..1 loop
            execute format($f$
                create %1$s table trunkline.request_%2$s%3$s (
                    id bigint not null, xid xid8 not null default pg_current_xact_id(), lane int not null,
                    caller int not null, corr bigint not null, flags int not null,
                    sent_at timestamptz not null, expires_at timestamptz not null,
                    role text not null, type text not null, payload bytea not null, headers text
                ) with (autovacuum_enabled = off);
                alter table trunkline.request_%2$s%3$s alter payload set storage external;
                create index request_%2$s%3$s_lane on trunkline.request_%2$s%3$s (lane, xid, id);
                create index request_%2$s%3$s_id on trunkline.request_%2$s%3$s (id);
                create index request_%2$s%3$s_expires on trunkline.request_%2$s%3$s
                    using brin (expires_at) with (pages_per_range = 16);

                create %1$s table trunkline.take_%2$s%3$s (
                    id bigint not null, lane int not null, turn bigint not null, session int not null,
                    token bigint not null, taken_at timestamptz not null, expires_at timestamptz not null,
                    lo pg_snapshot not null, hi pg_snapshot, pos_xid xid8, pos_id bigint,
                    ids bigint[] not null, attempts int[], callers int[] not null, corrs bigint[] not null,
                    deadlines timestamptz[] not null       -- attempts null: all 1; an id null: given away
                ) with (autovacuum_enabled = off);
                alter table trunkline.take_%2$s%3$s
                    alter ids set storage plain, alter attempts set storage plain, alter callers set storage plain,
                    alter corrs set storage plain, alter deadlines set storage plain;
                create unique index take_%2$s%3$s_turn on trunkline.take_%2$s%3$s (lane, turn);
                create unique index take_%2$s%3$s_id on trunkline.take_%2$s%3$s (id);
                create index take_%2$s%3$s_session on trunkline.take_%2$s%3$s (session, id);

                create %1$s table trunkline.ending_%2$s%3$s (
                    id bigint not null, attempt int not null, part int not null,
                    xid xid8 not null default pg_current_xact_id(), caller int not null, corr bigint not null,
                    status smallint not null, content smallint not null, ended_at timestamptz not null,
                    code text, payload bytea, headers text
                ) with (autovacuum_enabled = off);
                alter table trunkline.ending_%2$s%3$s alter payload set storage external;
                create unique index ending_%2$s%3$s_once on trunkline.ending_%2$s%3$s (id, attempt, part);
                create index ending_%2$s%3$s_early on trunkline.ending_%2$s%3$s (id) where status in (3, 4);
                create index ending_%2$s%3$s_caller on trunkline.ending_%2$s%3$s (caller, xid);
                -- What this connection may read of them without a function: see _request_fetch_e0.
                create view trunkline.own_ending_%2$s%3$s with (security_barrier) as
                    select e.* from trunkline.ending_%2$s%3$s e join trunkline.session s on s.id = e.caller
                     where s.pid = pg_backend_pid()
                        or s.role = coalesce(nullif(current_setting('role', true), 'none'), session_user);
                $f$, v_log, v_kind, v_seg);
        end loop;
        execute format($f$
            create %1$s table trunkline.again_%2$s (
                id bigint primary key, attempt int not null, lane int not null, type text not null,
                expires_at timestamptz not null
            );
            create index again_%2$s_lane on trunkline.again_%2$s (lane, id);
            $f$, v_log, v_kind);
    end loop;
end $$;

-- An ending, or a part, as the functions pass it on.
create type trunkline.request_end as (
    id bigint, attempt int, part int, caller int, corr bigint, status smallint, content smallint,
    code text, payload bytea, headers text
);
