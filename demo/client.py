"""POST over a connection that the server ends whenever it is idle.

Usage: client.py HOST PORT COUNT [CAFILE]

demo.py has each interpreter under test run this with -I, so that it
imports nothing but that interpreter's own standard library.  With CAFILE it
speaks TLS.  It reports on stdout, one JSON array a line:

    ["idle"]                        the server may end the connection now
    ["answered", id]                that POST was answered as it should be
    ["failed", id, reason]          that POST was not
"""

import http.client
import json
import select
import sys

TIMEOUT = 5     # seconds, for each wait


def report(*event):
    print(json.dumps(event), flush=True)


def connection(host, port, cafile):
    if cafile is None:
        return http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    import ssl
    context = ssl.create_default_context(cafile=cafile)
    return http.client.HTTPSConnection(host, port, timeout=TIMEOUT,
                                       context=context)


def post(conn, ident):
    """POST *ident*; the server's answer has to be *ident* again."""
    conn.request("POST", f"/?{ident}", body=ident.encode())
    response = conn.getresponse()
    answer = response.read().decode("latin-1")
    if response.status != 200:
        raise AssertionError(f"HTTP {response.status}")
    if answer != ident:
        raise AssertionError("another POST's answer")
    report("answered", ident)


def wait_for_end(sock):
    """Wait until the end of the connection has arrived at *sock*.

    The kernel is asked about the connection's state, so nothing is read,
    and TLS session tickets, which make a socket readable, do not count.
    """
    poller = select.poll()
    poller.register(sock, select.POLLRDHUP)     # implies POLLHUP, POLLERR
    if not poller.poll(TIMEOUT * 1000):
        raise TimeoutError("the server did not end the connection")


def try_post(conn, number):
    """POST once on a connection that has ended; report what came of it."""
    ident = f"post-{number}"
    try:
        if conn.sock is None:
            post(conn, f"opening-{number}")
        report("idle")
        wait_for_end(conn.sock)
        post(conn, ident)
    except Exception as exc:
        wrong = isinstance(exc, AssertionError)     # as post() says
        report("failed", ident, str(exc) if wrong else type(exc).__name__)
        conn.close()


def main(host, port, count, cafile=None):
    conn = connection(host, int(port), cafile)
    for number in range(int(count)):
        try_post(conn, number)
    conn.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
