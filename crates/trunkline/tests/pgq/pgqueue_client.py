"""A program of the module pgqueue, as it is written for PgQ: producer, bulk load, consumer with a retry, its own ticker."""

import io
import sys
import threading
import time

import psycopg2
import pgqueue

dsn = sys.argv[1]
conn = psycopg2.connect(dsn)
curs = conn.cursor()
queue = pgqueue.Queue("orders")
assert queue.create(curs, ticker_max_lag="0", ticker_idle_period="0") == 1
assert queue.create(curs) == 0
consumer = pgqueue.Consumer("orders", "billing")
assert consumer.register(curs) == 1
conn.commit()

for nr in range(20):
    queue.insert_event(curs, "order", str(nr), "extra")
conn.commit()
curs.execute("select pgq.current_event_table('orders')")
table = curs.fetchone()[0]
rows = "".join("2026-01-01 00:00:00\tbulk\t%d\n" % nr for nr in range(20, 40))
curs.copy_expert("copy %s (ev_time, ev_type, ev_data) from stdin" % table, io.StringIO(rows))
conn.commit()

ticker = pgqueue.Ticker(dsn, {"ticker_period": 1, "retry_period": 1, "maint_period": 1, "check_period": 1})
thread = threading.Thread(target=ticker.run if hasattr(ticker, "run") else ticker, daemon=True)
thread.start()

seen, retried = [], set()
end = time.time() + 30
while len(seen) < 40 and time.time() < end:
    for event in consumer.next_events(curs, commit=True):
        nr = int(event.data)
        if nr % 10 == 3 and nr not in retried:
            retried.add(nr)
            event.tag_retry(0)
            continue
        assert (event.retry > 0) == (nr in retried), (event, retried)
        seen.append(nr)
    time.sleep(0.05)
assert sorted(seen) == list(range(40)), sorted(seen)

external = pgqueue.Queue("external")
external.create(curs, external_ticker="true")
assert external.external_tick(curs, 7, "2026-01-01", 70) == 7
assert [info[0] for info in pgqueue.Queue.get_all_queues_info(curs)] == ["external", "orders"]
assert consumer.unregister(curs) == 1
assert external.drop(curs) == 1 and queue.drop(curs) == 1
conn.commit()
print("done", len(seen), len(retried), pgqueue.Queue.version(curs))
