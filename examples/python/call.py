"""Asks a shop for prices. Usage: python call.py [URL]; without one, DATABASE_URL."""

import json
import os
import sys

import psycopg


def send_and_await(conn, channel, item, count, timeout="30 seconds"):
    """The request goes out with your own transaction, together with your writes; awaited after the commit."""
    order = json.dumps({"item": item, "count": count})
    with conn.transaction():
        (request,) = conn.execute(
            "select trunkline.request_send(%s, %s, timeout => %s)", (channel, order, timeout)
        ).fetchone()
    return conn.execute("select outcome, code, payload from trunkline.request_await(%s)", (request,)).fetchone()


def call(conn, channel, item, count):
    """Both in one statement, which commits by itself: only outside of a transaction, so with autocommit."""
    order = json.dumps({"item": item, "count": count})
    return conn.execute("call trunkline.request_call(%s, %s, null, null)", (channel, order)).fetchone()


def main():
    url = sys.argv[1] if len(sys.argv) > 1 else os.environ["DATABASE_URL"]
    with psycopg.connect(url, autocommit=True) as conn:
        outcome, _, reply = send_and_await(conn, "price", "tea", 3)
        print(f"{outcome}: 3 tea cost {json.loads(reply)['cents']} cents")

        outcome, reply, _ = call(conn, "price", "sugar", 2)
        print(f"{outcome}: 2 sugar cost {json.loads(reply)['cents']} cents")

        outcome, code, text = send_and_await(conn, "price", "unicorn", 1)
        print(f"{outcome}: {code}, {text}")

        try:
            send_and_await(conn, "bakery", "bread", 1)
        except psycopg.Error as error:
            if error.sqlstate != "TL012":
                raise
            print(f"no responder: {error.diag.message_primary}")

        outcome, _, _ = send_and_await(conn, "price", "antique", 1, timeout="1 second")
        print(outcome)


main()
