-- The tables and sequences of PgQ as its clients read them, and two of our own, whose names begin with an underscore.
-- Names, order of columns and defaults are PgQ's interface; events live in one family of tables for each queue.
create table pgq._info (
    only_row    boolean primary key default true check (only_row),
    version     integer not null,
    structure   text    not null,
    system      bigint  not null,
    timeline    text    not null
);

create table pgq.consumer (
    co_id    serial,
    co_name  text not null,
    constraint consumer_pkey primary key (co_id),
    constraint consumer_name_uq unique (co_name)
);

create table pgq.queue (
    queue_id                  serial,
    queue_name                text        not null,
    queue_ntables             integer     not null default 3,
    queue_cur_table           integer     not null default 0,
    queue_rotation_period     interval    not null default '2 hours',
    queue_switch_step1        bigint      not null default txid_current(),
    queue_switch_step2        bigint               default txid_current(),
    queue_switch_time         timestamptz not null default now(),
    queue_external_ticker     boolean     not null default false,
    queue_disable_insert      boolean     not null default false,
    queue_ticker_paused       boolean     not null default false,
    queue_ticker_max_count    integer     not null default 500,
    queue_ticker_max_lag      interval    not null default '3 seconds',
    queue_ticker_idle_period  interval    not null default '1 minute',
    queue_per_tx_limit        integer,
    queue_data_pfx            text        not null,
    queue_event_seq           text        not null,
    queue_tick_seq            text        not null,
    queue_extra_maint         text[],
    constraint queue_pkey primary key (queue_id),
    constraint queue_name_uq unique (queue_name)
);

create table pgq.tick (
    tick_queue      integer       not null,
    tick_id         bigint        not null,
    tick_time       timestamptz   not null default now(),
    tick_snapshot   txid_snapshot not null default txid_current_snapshot(),
    tick_event_seq  bigint        not null,
    constraint tick_pkey primary key (tick_queue, tick_id),
    constraint tick_queue_fkey foreign key (tick_queue) references pgq.queue (queue_id)
);

create sequence pgq.batch_id_seq;

create table pgq.subscription (
    sub_id         serial      not null,
    sub_queue      integer     not null,
    sub_consumer   integer     not null,
    sub_last_tick  bigint,
    sub_active     timestamptz not null default now(),
    sub_batch      bigint,
    sub_next_tick  bigint,
    constraint subscription_pkey primary key (sub_queue, sub_consumer),
    constraint subscription_batch_idx unique (sub_batch),
    constraint sub_queue_fkey foreign key (sub_queue) references pgq.queue (queue_id),
    constraint sub_consumer_fkey foreign key (sub_consumer) references pgq.consumer (co_id)
);

create table pgq.event_template (
    ev_id      bigint      not null,
    ev_time    timestamptz not null,
    ev_txid    bigint      not null default txid_current(),
    ev_owner   integer,
    ev_retry   integer,
    ev_type    text,
    ev_data    text,
    ev_extra1  text,
    ev_extra2  text,
    ev_extra3  text,
    ev_extra4  text
);

create table pgq.retry_queue (
    ev_retry_after  timestamptz not null,
    ev_queue        integer     not null,
    ev_id           bigint      not null,
    ev_time         timestamptz not null,
    ev_txid         bigint,
    ev_owner        integer     not null,
    ev_retry        integer,
    ev_type         text,
    ev_data         text,
    ev_extra1       text,
    ev_extra2       text,
    ev_extra3       text,
    ev_extra4       text,
    constraint rq_pkey primary key (ev_owner, ev_id),
    constraint rq_queue_id_fkey foreign key (ev_queue) references pgq.queue (queue_id)
);
create index rq_retry_idx on pgq.retry_queue (ev_retry_after);

-- One row for each queue. Whoever takes a position shares it, rotation changes it: neither sees half of the other.
create table pgq._guard (
    queue_id   integer primary key references pgq.queue (queue_id),
    rotations  bigint not null default 0
);

-- What is known of a segment that nobody writes to any more: all its transactions are up to max_txid.
create table pgq._sealed (
    queue_id  integer not null references pgq.queue (queue_id),
    segment   integer not null,
    max_txid  bigint  not null,
    primary key (queue_id, segment)
);

-- Where a repair notes the ticks of a queue and the transactions of its events, with their new numbers. Empty between repairs.
create table pgq._rebase_tick (
    tick_id   bigint primary key,
    snapshot  txid_snapshot not null,
    upto      bigint not null,
    turn      bigint
);
create index on pgq._rebase_tick (upto, tick_id);
create table pgq._rebase_txid (
    txid     bigint primary key,
    tick_id  bigint
);
