"""Quotes prices, until SIGTERM or Ctrl-C. Usage: python respond.py [URL]; without one, DATABASE_URL."""

import json
import os
import signal
import sys
import time

import psycopg

EACH = {"tea": 450, "sugar": 120, "antique": 99_000}
stopping = False


def stop(*_):
    global stopping
    stopping = True


def quote(order):
    """The work itself: the price, or None for what is not sold. No transaction is open meanwhile."""
    if order["item"] == "antique":
        time.sleep(1.5)  # longer than its caller waits
    if order["item"] in EACH:
        return {"cents": EACH[order["item"]] * order["count"]}


def answer(conn, claim, payload):
    try:
        order = json.loads(payload)
        price = quote(order)
        if price is None:
            failure = ("unknown item", f"we do not sell {order['item']}")
    except Exception as error:  # whatever happens, the caller hears of it
        price, failure = None, ("error", repr(error))
    try:
        with conn.transaction():  # your own writes belong in here: they commit with the reply, or not at all
            if price is not None:
                conn.execute("select trunkline.request_reply(%s, %s)", (claim, json.dumps(price)))
            else:
                conn.execute("select trunkline.request_fail(%s, %s, %s)", (claim, *failure))
    except psycopg.Error as error:
        if error.sqlstate != "TL001":
            raise
        print("late: nobody waits any more, nothing was written", flush=True)


def main():
    url = sys.argv[1] if len(sys.argv) > 1 else os.environ["DATABASE_URL"]
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    with psycopg.connect(url, autocommit=True) as conn:
        # In this order nothing is lost: serve, listen, take until there is nothing, and only then wait.
        (bell,) = conn.execute("select trunkline.request_serve('price')").fetchone()
        conn.execute(f"listen {bell}")
        print("serving price", flush=True)
        while not stopping:
            taken = conn.execute("select claim, payload from trunkline.request_take('price')").fetchone()
            if taken:
                answer(conn, *taken)
            else:
                for _ in conn.notifies(timeout=1, stop_after=1):  # only a hint, so look again after a second
                    pass
    print("stopped")


main()
