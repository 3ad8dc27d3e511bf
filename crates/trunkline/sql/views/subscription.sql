-- Who listens on what, who of many is active, and since when: topic_subscriptions() as a view, for whoever may call that.
create or replace view trunkline.subscription as
select topics, kind, name, single, active, fence, since, made_at, session, address, application, role, gaps, gap_at
  from trunkline.topic_subscriptions();
