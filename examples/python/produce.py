"""Places orders. Usage: python produce.py [URL]; without one, DATABASE_URL."""

import json
import os
import sys

import psycopg


def place(conn, item, count):
    """In your own transaction the event goes out with your writes, or not at all."""
    order = json.dumps({"item": item, "count": count})
    conn.execute("select trunkline.stream_append_json('orders', %s, type => 'placed', key => %s)", (order, item))


def main():
    url = sys.argv[1] if len(sys.argv) > 1 else os.environ["DATABASE_URL"]
    with psycopg.connect(url, autocommit=True) as conn:
        place(conn, "tea", 3)  # a transaction of its own
        print("placed: 3 tea")

        with conn.transaction():
            place(conn, "unicorn", 1)
        print("placed: 1 unicorn")

        with conn.transaction():
            place(conn, "sugar", 5)
            raise psycopg.Rollback()
        print("taken back: 5 sugar")


main()
