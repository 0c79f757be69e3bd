"""Flask with threads and one pool: each request has a connection of its own for as long as it takes, and no longer.

    python examples/flask_threads.py [--dsn DSN] [--port N]

    curl -X POST localhost:8000/planets -H 'Content-Type: application/json' -d '{"name": "Mars", "moons": 2}'
    curl localhost:8000/planets

The pool is the application's and is shared by all of its threads. A request is a transaction: committed when the view
returns, rolled back when it raises. `pool.execute()` needs no connection, and so no turn. Ctrl-C lets requests finish
that are under way, and closes the pool.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading

from flask import Flask, Response, jsonify, request
from werkzeug.serving import ThreadedWSGIServer

import anyq
from anyq.cli.embedded import EmbeddedServer, ServerUnavailable
from anyq.pool import ConnectionPool, PoolTimeout
from anyq.rows import dict_row


def create_app(pool: ConnectionPool) -> Flask:
    app = Flask(__name__)

    @app.get("/planets")
    def planets() -> Response:
        with pool.connection() as conn:
            cur = conn.cursor(row_factory=dict_row)
            return jsonify(cur.execute("SELECT name, moons FROM planet ORDER BY name").fetchall())

    @app.post("/planets")
    def add() -> tuple[Response, int]:
        planet = request.get_json()
        with pool.connection() as conn:
            conn.execute("INSERT INTO planet VALUES (%(name)s, %(moons)s)", planet)
        return jsonify(planet), 201

    @app.get("/moons")
    def moons() -> Response:
        # One statement, on a connection that others may use at the same time.
        return jsonify(pool.execute("SELECT coalesce(sum(moons), 0)::int FROM planet").fetchone())

    @app.errorhandler(anyq.errors.UniqueViolation)
    def is_there(error: anyq.errors.UniqueViolation) -> tuple[str, int]:
        return error.diag.message_detail or "it is there already", 409

    @app.errorhandler(PoolTimeout)
    def is_busy(error: PoolTimeout) -> tuple[str, int, dict[str, str]]:
        return "all connections are taken", 503, {"Retry-After": "1"}

    return app


class Server(ThreadedWSGIServer):
    """Flask's own server, with a thread for each request. In production any other that has threads does as well."""

    # Requests are waited for at the end.
    daemon_threads = False


def serve(dsn: str, port: int) -> None:
    with ConnectionPool(dsn, min_size=2, max_size=10, timeout=5) as pool:
        pool.execute("CREATE TABLE IF NOT EXISTS planet (name text PRIMARY KEY, moons int NOT NULL)")
        server = Server("127.0.0.1", port, create_app(pool))

        def end(number: int, frame: object) -> None:
            # Not from this thread, which is the one that serves.
            threading.Thread(target=server.shutdown).start()

        signal.signal(signal.SIGINT, end)
        signal.signal(signal.SIGTERM, end)
        print(f"http://127.0.0.1:{server.server_port}/planets", flush=True)
        server.serve_forever()
        server.server_close()
    print("closed")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--dsn", help="connection string or URI; by default an embedded server is started")
    parser.add_argument("--port", type=int, default=8000, help="0 for any that is free")
    arguments = parser.parse_args()
    try:
        if arguments.dsn is not None:
            serve(arguments.dsn, arguments.port)
        else:
            with EmbeddedServer() as database:
                serve(database.dsn, arguments.port)
    except ServerUnavailable as error:
        sys.exit(str(error))
