"""The look at an idle connection before a request is sent, timed.

Usage: look.py OPTIONS, a JSON object: "host", "port", "cafile" (null without
TLS) and "count", how many looks to time.

It prints the seconds that one look at a healthy connection takes, the call
of the method included.
"""

import json
import sys
import time

from clients import CASES, check, connect

# What http.client calls once per request, before it sends.
NAME = "_HTTPConnection__leave_dead_socket"

SLICES = 10     # of which the best counts


def exchange(conn):
    conn.request(*CASES["GET"])
    with conn.getresponse() as response:
        check("GET", [(response.status, response.read())])


def see_used(conn):
    """Exit unless a request calls the method that is to be timed, once."""
    look, calls = getattr(conn, NAME, None), []
    if look is None:
        sys.exit(f"http.client has no {NAME} to time; see bench/look.py")

    def noted():
        calls.append(conn.sock)
        look()
    setattr(conn, NAME, noted)
    exchange(conn)
    delattr(conn, NAME)
    if calls != [conn.sock]:
        sys.exit(f"a request called {NAME} {len(calls)} times, not once; see "
                 f"bench/look.py")


def time_of(look, count):
    start = time.perf_counter()
    for _ in range(count):
        look()
    return (time.perf_counter() - start) / count


def main(options):
    options = json.loads(options)
    count = options.pop("count") // SLICES
    conn = connect(**options)
    exchange(conn)
    see_used(conn)
    sock, look = conn.sock, getattr(conn, NAME)
    best = min(time_of(look, count) for _ in range(SLICES))
    if conn.sock is not sock:
        sys.exit("the connection was not healthy")
    exchange(conn)
    print(json.dumps(best))


if __name__ == "__main__":
    main(*sys.argv[1:])
