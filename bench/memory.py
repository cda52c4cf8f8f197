"""What idle connections of http.client take.

Usage: memory.py OPTIONS: a JSON object with "host", "port", "count" (how
many connections to keep) and "traced".

It prints how many bytes a kept connection takes after a request and its
response: by what the process has in memory or, if "traced", by what
tracemalloc saw allocated.  What the kernel has is not in it.
"""

import gc
import json
import resource
import sys
import tracemalloc

from clients import connect
from look import exchange

# What is made once, whatever the number of connections.
WARM_UP = 20


def allow_files(count):
    """Let this process have *count* files open, and some more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + WARM_UP + 100
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def allocated():
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def kept(host, port):
    conn = connect(host, port)
    exchange(conn)
    return conn


def main(options):
    options = json.loads(options)
    count = options.pop("count")
    allow_files(count)
    if options.pop("traced"):
        tracemalloc.start()
        measure = allocated
    else:
        measure = resident
    warm = [kept(**options) for _ in range(WARM_UP)]
    before = measure()
    conns = [kept(**options) for _ in range(count)]
    taken = measure() - before
    if not all(conn.sock for conn in warm + conns):
        sys.exit("a connection was not kept")
    print(json.dumps(taken / count))


if __name__ == "__main__":
    main(*sys.argv[1:])
