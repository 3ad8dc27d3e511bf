-- What the role that asks is not shown.
select 'note' as level, current_user::text as object,
       format('the role %I is no member of pg_monitor', current_user) as finding,
       'who keeps the horizon is hidden from it where that is a session of another role, and so is the state of standbys' as consequence,
       format('grant pg_monitor to %I;', current_user) as remedy
 where not pg_has_role('pg_monitor', 'usage') and $1 >= 0
