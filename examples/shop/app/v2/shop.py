#!/usr/bin/python3
"""The shop, release v2: orders have a price."""
import argparse
import http.server
import json
import signal
import socketserver
import threading

import psycopg2

RELEASE = "v2"
PRICE_CENTS = 1250


class Shop:
    def __init__(self, config):
        self.config = config

    def query(self, sql, *values):
        """Runs one statement in a transaction of its own and returns its rows."""
        connection = psycopg2.connect(self.config["database"], connect_timeout=5)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(sql, values)
                return cursor.fetchall()
        finally:
            connection.close()

    def place(self, order):
        item, quantity = str(order["item"]), int(order["quantity"])
        [(number,)] = self.query(
            "INSERT INTO orders (item, quantity, cents) VALUES (%s, %s, %s) RETURNING number",
            item, quantity, quantity * PRICE_CENTS)
        return {"number": number, "release": RELEASE, "host": self.config["host"]}

    def show(self, number):
        rows = self.query("SELECT number, item, quantity, cents FROM orders WHERE number = %s", number)
        return dict(zip(("number", "item", "quantity", "cents"), rows[0])) if rows else None

    def health(self):
        self.query("SELECT count(*) FROM (SELECT number, item, quantity, cents FROM orders LIMIT 1) AS any_order")
        return {"release": RELEASE, "host": self.config["host"]}


class Handler(http.server.BaseHTTPRequestHandler):
    shop = None

    def answer(self, status, value):
        body = json.dumps(value).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle_safely(self, action):
        try:
            self.answer(*action())
        except (ValueError, KeyError, TypeError) as problem:
            self.answer(400, {"error": f"not an order: {problem!r}"})
        except psycopg2.Error as problem:
            self.answer(503, {"error": str(problem).strip()})

    def do_GET(self):
        def act():
            if self.path == "/healthz":
                return 200, self.shop.health()
            if self.path.startswith("/orders/"):
                order = self.shop.show(int(self.path[len("/orders/"):]))
                return (200, order) if order else (404, {"error": "no such order"})
            return 404, {"error": "try /orders/NUMBER or /healthz"}

        self.handle_safely(act)

    def do_POST(self):
        def act():
            length = int(self.headers.get("Content-Length", 0))
            if self.path != "/orders" or length > 65536:
                return 404, {"error": "POST to /orders, at most 64 KiB"}
            return 201, self.shop.place(json.loads(self.rfile.read(length)))

        self.handle_safely(act)

    def log_message(self, *words):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    request_queue_size = 128
    daemon_threads = False  # an order that is being placed is finished before the process ends


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True)
    with open(parser.parse_args().config, encoding="utf-8") as file:
        config = json.load(file)
    Handler.shop = Shop(config)
    server = Server((config["listen"]["address"], config["listen"]["port"]), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"shop {RELEASE} listens on {config['listen']['address']}:{config['listen']['port']}", flush=True)
    server.serve_forever(poll_interval=0.1)
    server.server_close()


if __name__ == "__main__":
    main()
