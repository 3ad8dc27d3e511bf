"""Counts what was sold, until SIGTERM or Ctrl-C. Usage: python consume.py [URL]; without one, DATABASE_URL."""

import json
import os
import signal
import sys
import time

import psycopg

stopping = False


def stop(*_):
    global stopping
    stopping = True


def sell(conn, batch, event, attempt, payload):
    order = json.loads(payload)
    item = order["item"]
    if item == "tea":
        (sold,) = conn.execute(
            "insert into sold as s values (%(item)s, %(count)s)"
            " on conflict (item) do update set count = s.count + %(count)s returning count",
            order,
        ).fetchone()
        print(f"sold {order['count']} {item}, {sold} in all", flush=True)
    else:  # it holds up nobody: it alone comes again, to this consumer only; with a delay of null it is given up
        delay = "1 second" if attempt == 1 else None
        conn.execute("select trunkline.stream_retry(%s, array[%s], %s, 'not in stock')", (batch, event, delay))
        print(f"{item}: not in stock, {'given up' if delay is None else 'it comes again'}", flush=True)


def main():
    url = sys.argv[1] if len(sys.argv) > 1 else os.environ["DATABASE_URL"]
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("select trunkline.stream_register('orders', 'stock')")
        # A real one would not be temporary.
        conn.execute("create temp table sold (item text primary key, count bigint not null)")
        print("consuming orders", flush=True)
        while not stopping:
            # Taken in a transaction of its own, so that it is known whose it is.
            taken = conn.execute("select batch from trunkline.stream_next_batch('orders', 'stock')").fetchone()
            if taken is None:
                time.sleep(0.2)
                continue
            # Your writes and the end of the batch: when this is not committed, the batch comes again.
            with conn.transaction():
                events = conn.execute("select id, attempt, payload from trunkline.stream_events(%s)", taken).fetchall()
                for event in events:
                    sell(conn, *taken, *event)
                conn.execute("select trunkline.stream_finish(%s)", taken)
    print("stopped")


main()
