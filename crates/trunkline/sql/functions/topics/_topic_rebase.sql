-- Forgets the ring, with what it holds: positions in it are of another cluster's transactions. Its next reader makes another one, with
-- an incarnation of its own, and so everybody is told of a gap. Locks: ACCESS EXCLUSIVE on the messages.
create or replace function trunkline._topic_rebase() returns void
language plpgsql volatile set search_path = pg_catalog, trunkline, pg_temp as $$
begin
    truncate trunkline.topic_message;
    delete from trunkline.topic_ring;
end $$;
