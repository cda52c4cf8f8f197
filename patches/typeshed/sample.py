"""A program that uses every public name that the series adds; for mypy."""
import http.client
import logging.handlers
import selectors
import urllib.request
from http.client import ConnectionClosed, HTTPSConnection, PipelineOverflow
from typing import assert_type


class Strict(HTTPSConnection):
    require_close_notify = True
    max_pipelined = 8


def get_all(conn: http.client.HTTPConnection, targets: list[str]) -> list[bytes]:
    for target in targets:
        conn.request("GET", target)
    bodies = []
    try:
        for target in targets:
            with conn.getresponse() as response:
                bodies.append(response.read())
    except (ConnectionClosed, PipelineOverflow) as exc:
        assert_type(exc.unanswered, tuple[tuple[str, str], ...])
        conn.close()
    return bodies


def wait(conn: http.client.HTTPConnection) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(conn, selectors.EVENT_READ)
        return assert_type(conn.poll_response(), bool) or conn.poll_response(None)


def is_closed(exc: http.client.RemoteDisconnected) -> ConnectionClosed:
    return exc


assert_type(Strict("localhost").fileno(), int)
with urllib.request.PersistentConnectionHandler(
        max_idle=4, max_per_host=2, idle_timeout=30.0, max_age=600,
        debuglevel=1) as handler:
    opener = urllib.request.build_opener(handler)
    numbers = (handler.num_connections, handler.num_requests, handler.idle,
               handler.in_use)
    assert_type(numbers, tuple[int, int, int, int])
    handler.close()

logging.handlers.HTTPHandler("localhost", "/log", persistent=True, timeout=2.5).close()
logging.handlers.HTTPHandler("localhost", "/log", persistent=True, timeout=None).close()
