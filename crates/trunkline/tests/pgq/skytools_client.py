"""Consumers of python3-pgq, plain and cooperative, as jobs of its framework; the ticks come from outside."""

import sys

import pgq
import psycopg2

dsn, log = sys.argv[1], sys.argv[2]
conn = psycopg2.connect(dsn)
conn.autocommit = True
curs = conn.cursor()
TOTAL = 60


def job(cls, name, settings):
    """One process of the framework, run in this one: it ends when there is nothing more to do."""
    path = "%s/%s.ini" % (log, name)
    with open(path, "w") as f:
        f.write("[%s]\njob_name = %s\ndb = %s\nqueue_name = jobs\nlogfile = %s/%s.log\npidfile =\nuse_skylog = 0\n" % (
            cls.__name__.lower(), name, dsn, log, name))
        for key, value in settings.items():
            f.write("%s = %s\n" % (key, value))
    return cls(cls.__name__.lower(), "db", [path, "-q"])


class Plain(pgq.Consumer):
    """Puts one event aside once, and notes the rest."""

    seen = []

    def process_event(self, db, event):
        if event.ev_data == "13" and not event.ev_retry:
            event.tag_retry(0)
            return
        self.seen.append(int(event.ev_data))
        event.tag_done()


class Part(pgq.CoopConsumer):
    """Notes who saw what."""

    seen = {}

    def process_event(self, db, event):
        self.seen.setdefault(self.subconsumer_name, []).append(int(event.ev_data))


def insert(first, last):
    """Some events, and a tick behind them."""
    for nr in range(first, last):
        pgq.insert_event(curs, "jobs", "job", str(nr))
    curs.execute("select pgq.ticker()")


curs.execute("select pgq.create_queue('jobs'), pgq.set_queue_config('jobs', 'ticker_max_lag', '0'),"
             " pgq.set_queue_config('jobs', 'ticker_idle_period', '0')")
plain = job(Plain, "plain", {"consumer_name": "plain"})
parts = [job(Part, "part%d" % nr, {"consumer_name": "shared", "subconsumer_name": "part%d" % nr}) for nr in range(3)]
plain.register_consumer()
for part in parts:
    part.register_consumer()
for first in range(0, TOTAL, 10):
    insert(first, first + 10)
for _ in range(40):
    curs.execute("select pgq.maint_retry_events(), pgq.ticker()")
    for each in [plain] + parts:
        each.work()
    if len(Plain.seen) == TOTAL and sum(map(len, Part.seen.values())) == TOTAL:
        break
assert sorted(Plain.seen) == list(range(TOTAL)), Plain.seen
assert sorted(sum(Part.seen.values(), [])) == list(range(TOTAL)), Part.seen
assert len(Part.seen) > 1, Part.seen
plain.unregister_consumer()
for part in parts:
    part.unregister_consumer()
print("done", len(Plain.seen), len(Part.seen))
