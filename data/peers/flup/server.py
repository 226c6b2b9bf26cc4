"""flup: a thread for each connection; with --multiplexed one for each request, also where they share a connection."""

import os
import sys
import time
from urllib.parse import parse_qs

from flup.server.fcgi import WSGIServer


def application(environ, start_response):
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    if path == "/hello":
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "13")])
        return [b"Hello, world\n"]
    if path == "/echo":
        body = environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Type", "application/octet-stream")])
        return [body]
    if path == "/wait":
        ms = milliseconds(environ)
        time.sleep(ms / 1000)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"waited %d ms\n" % ms]
    start_response("404 Not Found", [("Content-Type", "text/plain")])
    return [b"not found\n"]


def milliseconds(environ):
    """What the query says, a second at most; 0 where it says nothing."""
    said = parse_qs(environ.get("QUERY_STRING", "")).get("ms", [""])[0]
    return min(int(said), 1000) if said.isdecimal() else 0


# Where nothing is said flup decides: as many threads as there are connections, or requests, of which it keeps five.
workers = os.environ.get("PEER_WORKERS")
limits = {"minSpare": 1, "maxSpare": int(workers), "maxThreads": int(workers)} if workers else {}
# Without an address it serves the socket on fd 0.
WSGIServer(application, multiplexed="--multiplexed" in sys.argv, **limits).run()
