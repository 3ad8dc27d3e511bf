"""Adds up what is sold, as it is told, until SIGTERM or Ctrl-C. Usage: python subscribe.py [URL]; without one, DATABASE_URL."""

import json
import os
import signal
import sys

import psycopg

TOPICS = ["sales.*"]

stopping = False


def stop(*_):
    global stopping
    stopping = True


def read(conn):
    """The next messages, added up in the transaction that keeps the place behind them. How many."""
    with conn.transaction():
        cents, place = conn.execute("select cents, place from till for update").fetchone()
        rows = conn.execute(
            "select next, gap_since, topic, payload from trunkline.topic_read(%s, %s)", (TOPICS, place)
        ).fetchall()
        for place, missed, topic, payload in rows:
            if missed is not None:
                print("something was sold that nobody told us", flush=True)
            elif topic is not None:
                sold = json.loads(payload)["cents"]
                cents += sold
                print(f"{topic}: {sold} cents, {cents} in all", flush=True)
        conn.execute("update till set cents = %s, place = %s", (cents, place))
    return sum(topic is not None for _, _, topic, _ in rows)


def main():
    url = sys.argv[1] if len(sys.argv) > 1 else os.environ["DATABASE_URL"]
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    with psycopg.connect(url, autocommit=True) as conn:
        # A real one would not be temporary, and who starts again would go on from its place.
        conn.execute("create temp table till (cents bigint not null, place text not null)")
        conn.execute("insert into till select 0, next from trunkline.topic_read(%s)", (TOPICS,))
        conn.execute("select trunkline.topic_listen(%s)", (TOPICS,))
        print("listening", flush=True)
        while not stopping:
            if read(conn) == 0:
                for _ in conn.notifies(timeout=2, stop_after=1):
                    pass
    print("stopped")


main()
