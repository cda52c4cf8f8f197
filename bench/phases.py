"""Where the time of a GET goes: in request(), getresponse(), read(), the end.

Usage: phases.py LIB ...

Each library folder runs on the interpreter that runs this program.  The
request goes over a socket pair in one process, and its response is there when
it is read.  The figures are medians of the wall clock in microseconds, the
best of several turns; system calls are included.
"""

import http.client
import os
import socket
import statistics
import subprocess
import sys
import time

FIELDS = (b"Server: nginx/1.22.1\r\nDate: Sat, 28 Nov 2026 00:51:25 GMT\r\n"
          b"Content-Type: text/plain\r\nConnection: keep-alive\r\n"
          b"Last-Modified: Sat, 28 Nov 2026 00:51:20 GMT\r\n"
          b'ETag: "6a0-400"\r\nAccept-Ranges: bytes\r\n')
CASES = {"1 field": b"", "8 fields": FIELDS}
PHASES = "request()", "getresponse()", "read()", "end", "sum"
TURNS, REQUESTS = 12, 2000


def measure(fields):
    """Return the times of the phases, in microseconds."""
    message = (b"HTTP/1.1 200 OK\r\n%bContent-Length: 1024\r\n\r\n%b"
               % (fields, bytes(1024)))
    ours, theirs = socket.socketpair()
    conn = http.client.HTTPConnection("127.0.0.1", 8080)
    conn.sock = ours
    with ours, theirs:
        turns = [turn(conn, theirs, message) for _ in range(TURNS)]
    best = [min(phase) for phase in zip(*turns)]
    return [*best, sum(best)]


def turn(conn, theirs, message):
    clock = time.perf_counter_ns
    times = []
    for _ in range(REQUESTS):
        start = clock()
        conn.request("GET", "/item")
        sent = clock()
        theirs.sendall(message)
        answered = clock()
        response = conn.getresponse()
        begun = clock()
        response.read()
        read = clock()
        del response
        end = clock()
        theirs.recv(65536)
        times.append((sent - start, begun - answered, read - begun,
                      end - read))
    return [statistics.median(phase) / 1000 for phase in zip(*times)]


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__.strip())
    print("| GET | library | " + " | ".join(PHASES) + " |")
    print("| --- | --- |" + " --: |" * len(PHASES))
    for case in CASES:
        for lib in sys.argv[1:]:
            subprocess.run([sys.executable, __file__, "--measure", case, lib],
                           env={**os.environ, "PYTHONPATH": lib}, check=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        _, _, case, lib = sys.argv
        figures = [f"{figure:.1f}" for figure in measure(CASES[case])]
        print(f"| {case} | {lib} | " + " | ".join(figures) + " |")
    else:
        main()
