-- What must not be in an installed schema, one row for each finding: the finding, and the object.
with function as (
    select p.oid, p.oid::regprocedure::text as name, p.prosrc, p.proacl, p.proowner, p.prosecdef, p.prokind,
           p.prolang = (select l.oid from pg_language l where l.lanname = 'sql') and not p.prosecdef as read_in,
           p.proname in ('stream_append', 'topic_publish') as qualified,   -- for their speed; pgspot sees that they are, as those that are read in
           (select c from unnest(p.proconfig) c where c like 'search_path=%') as path
      from pg_proc p where p.pronamespace = 'trunkline'::regnamespace
), relation as (
    select c.oid, c.oid::regclass::text as name, c.relkind, c.relacl, c.relowner, c.relpersistence
      from pg_class c where c.relnamespace = 'trunkline'::regnamespace
), finding (what, object) as (
    select 'PUBLIC may execute it', f.name
      from function f, aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) a where a.grantee = 0
    union all
    select 'security definer without search_path = pg_catalog, trunkline, pg_temp', name
      from function where prosecdef and path is distinct from 'search_path=pg_catalog, trunkline, pg_temp' and not qualified
    union all
    select 'a function without a pinned search_path', name
      from function where path is null and prokind <> 'p' and not read_in and not qualified
    union all
    select 'execute of something else than format(…) or a constant', name
      from function where regexp_replace(prosrc, '--[^\n]*', '', 'g') ~* '\mexecute\M\s+(?!format\s*\(|''|on\M|function\M)'
    union all
    select 'somebody else than its owner has rights on it', r.name
      from relation r, aclexplode(r.relacl) a
     where r.relkind in ('r', 'p', 'v', 'm', 'S') and a.grantee <> r.relowner
       and not (r.name ~ '^trunkline\.(own_ending_[ed][01]|job|subscription)$' and a.privilege_type = 'SELECT')
    union all
    select 'a sequence that caches numbers, so that ids do not rise in the order of the calls', s.seqrelid::regclass::text
      from pg_sequence s join relation r on r.oid = s.seqrelid where s.seqcache <> 1
    union all
    select 'unlogged, and not one of those that may be lost in a crash', name
      from relation
     where relpersistence = 'u' and relkind = 'r'
       and name !~ '^trunkline\.(session|responder|buried|job_counted|job_held_counted|job_wait|lease_waiter|lease_watch|topic_(ring|message_[01]|subscription|claimed)|(request|take|ending|job|job_slice|job_done|job_end)_e[01]|again_e)$'
    union all
    select 'PUBLIC may execute it', p.oid::regprocedure::text
      from pg_proc p join pg_namespace n on n.oid = p.pronamespace, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
     where n.nspname in ('pgq', 'pgq_coop') and a.grantee = 0
       and p.proname not in ('seq_getval', 'get_queue_info', 'get_consumer_info', 'quote_fqname', 'version')
    union all
    select 'security definer without search_path = pg_catalog, pgq, pg_temp', p.oid::regprocedure::text
      from pg_proc p join pg_namespace n on n.oid = p.pronamespace
     where n.nspname in ('pgq', 'pgq_coop') and p.prosecdef and p.proname <> 'insert_event'     -- generated, every name in it qualified
       and not 'search_path=pg_catalog, pgq, pg_temp' = any (coalesce(p.proconfig, '{}'))
    union all
    select 'PUBLIC has rights on the schema', nspname
      from pg_namespace n, aclexplode(n.nspacl) a where n.nspname = 'trunkline' and a.grantee = 0
)
select what, object from finding order by 1, 2;
