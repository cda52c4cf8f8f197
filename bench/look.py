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

SLICES = 10     # of which the best counts


def exchange(conn):
    conn.request(*CASES["GET"])
    with conn.getresponse() as response:
        check("GET", [(response.status, response.read())])


def get_look(conn):
    """Return the call with which a request looks; exit if there is none."""
    channel = getattr(conn, "_HTTPConnection__channel", None)
    if not hasattr(channel, "can_begin"):
        sys.exit("http.client does not look before it sends; see "
                 "bench/look.py")
    return channel.can_begin


def time_of(look, count):
    start = time.perf_counter()
    for _ in range(count):
        look(False)
    return (time.perf_counter() - start) / count


def main(options):
    options = json.loads(options)
    count = options.pop("count") // SLICES
    conn = connect(**options)
    exchange(conn)
    exchange(conn)      # from the second look on, poll() is at hand
    sock, look = conn.sock, get_look(conn)
    best = min(time_of(look, count) for _ in range(SLICES))
    if conn.sock is not sock or not look(False):
        sys.exit("the connection was not healthy")
    exchange(conn)
    print(json.dumps(best))


if __name__ == "__main__":
    main(*sys.argv[1:])
