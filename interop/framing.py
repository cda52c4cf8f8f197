"""Try every response of a table in every way of reading, over every transport.

    "$(./series python)" interop/framing.py

The table is that of test.test_http_framing: the bytes of a response, what is
read of it, and whether the connection is used again.  Here, each row is tried
with the product of

  - plain TCP, and TLS;
  - a new connection, and one that has served a request before;
  - GET, and the same response, without its body, to HEAD;
  - each way of reading, of the response and of its attribute fp;
  - a response that is received as a whole, byte by byte, and in two parts
    with the cut at every place.

By default, each row is read in each way when it is received as a whole over a
new connection.  Otherwise the ways take turns, and over TLS, only every 32nd
row is cut.  This takes about ten minutes.  With --quick, the ways take turns
throughout, only every twelfth row is cut, and only every fourth is tried over
TLS; this takes about a minute.  With --all, nothing is left out;
this takes hours.

The exit status is 0 if every try was right, 1 if one
was not, and 2 if there is no such row.
"""

import argparse
import collections
import contextlib
import http.client
import sys
import time
from typing import NamedTuple

from test import support, test_http_framing as table

support.SHORT_TIMEOUT = 5

MOST_SHOWN = 30     # findings
WAYS = list(table.READS)
TRIES_EACH = 4000   # for how many a server is used


class Try(NamedTuple):
    tls: bool
    before: bool        # is there another exchange before?
    method: str
    sizes: tuple        # of the pieces
    way: str

    def __str__(self):
        sizes = ("whole" if not self.sizes
                 else f"cut at {self.sizes[0]}" if len(self.sizes) == 1
                 else "byte by byte")
        return ", ".join(["TLS" if self.tls else "plain",
                          "second request" if self.before else "new",
                          self.method, sizes, self.way])


def get_row(row, method):
    """Return what *row* is for this method, or None if it says nothing."""
    if method == row.method:
        return row
    if row.method != "GET" or method != "HEAD":
        return None
    if isinstance(row.expected, bytes):
        if row.ends and row.kept is table.CLOSED:
            return None     # HEAD needs no length, so the row does not tell
    elif row.expected is not table.IncompleteRead:
        return row._replace(method=method)
    if row.kept is table.SPOILT and row.expected == b"" and not row.ends:
        return row._replace(method=method)
    kept = table.KEPT if row.kept is table.SPOILT else row.kept
    return row._replace(method=method, body=b"", expected=b"", ends=False,
                        kept=kept)


def get_methods(row):
    return [row.method] if row.method != "GET" else ["GET", "HEAD"]


def get_deliveries(row, is_cut):
    """Return the sizes of the pieces, for each way to receive *row*."""
    size = len(row.head + row.body)
    cuts = [(at,) for at in range(1, size)] if is_cut else []
    return [(), (1,) * size, *cuts]


def get_tries(row, number, args):
    """Yield each Try of a row, which is the one of this *number*."""
    turn = number
    for tls in args.transports:
        if tls and args.quick and number % 4:
            continue
        one_in = 1 if args.all else 32 if tls else 12 if args.quick else 1
        is_cut = number % one_in == 0
        for before in (False, True):
            for method in get_methods(row):
                changed = get_row(row, method)
                if changed is None:
                    continue
                readers = table.get_readers(changed)
                ways = [way for way in WAYS if way in readers]
                for sizes in get_deliveries(changed, is_cut):
                    chosen = ways
                    if not args.all and (sizes or before or args.quick):
                        turn += 1
                        chosen = [ways[turn % len(ways)]]
                    for way in chosen:
                        yield Try(tls, before, method, sizes, way)


class Tries(table.RowTestCase):
    """The test of a row, which tells what is wrong."""

    def __init__(self, tls):
        super().__init__()
        self.tls = table.ssl.TLSVersion.TLSv1_3 if tls else None
        self.tried = None       # how often; None without a server

    def runTest(self):
        """Nothing: check() is called for each try."""

    @contextlib.contextmanager
    def subTest(self, **_):
        try:
            yield
        except (http.client.HTTPException, OSError, AssertionError) as exc:
            said = str(exc).partition("\n")[0]
            self.fault = f"{type(exc).__name__}: {said}"

    def get_fault(self, row, each):
        """Try it; return what is wrong, or None."""
        if self.tried == TRIES_EACH:
            self.close()
        if self.tried is None:
            self.setUp()
            self.tried = 0
        self.tried += 1
        self.fault = None
        try:
            self.check(get_row(row, each.method), each.way,
                       sizes=list(each.sizes), before=each.before)
        except AssertionError:
            self.fault = self.fault or "Timeout"
        return self.fault

    def close(self):
        if self.tried is not None:
            self.tried = None
            self.doCleanups()


class Report:

    def __init__(self, row_count):
        self.row_count = row_count
        self.tried = 0
        self.failed = 0
        self.findings = collections.defaultdict(list)
        self.start = time.monotonic()

    def add(self, row, each, fault):
        self.tried += 1
        if fault:
            self.failed += 1
            self.findings[row.name, fault].append(each)

    def show_progress(self, number):
        if sys.stderr.isatty() or number % 50 == 0 or number == self.row_count:
            seconds = time.monotonic() - self.start
            print(f"{number:4}/{self.row_count} rows, {self.tried:9,} tries, "
                  f"{self.failed:6,} wrong, {seconds:4.0f} s",
                  end="\r" if sys.stderr.isatty() else "\n", file=sys.stderr,
                  flush=True)

    def show_summary(self):
        if sys.stderr.isatty():
            print(file=sys.stderr)
        for (name, fault), tries in list(self.findings.items())[:MOST_SHOWN]:
            print(f"{name}\n    {fault}\n    {len(tries)} times, first with "
                  f"{tries[0]}")
        if len(self.findings) > MOST_SHOWN:
            print(f"and {len(self.findings) - MOST_SHOWN} more findings")
        print(f"{self.row_count} rows, {self.tried:,} tries: "
              + (f"{self.failed:,} wrong" if self.failed else "all right"))


def parse():
    description, _, epilog = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        description=description, epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--quick", action="store_true",
                       help="try a part of the product")
    group.add_argument("--all", action="store_true",
                       help="try each place of a cut in each way")
    parser.add_argument("--row", metavar="NAME",
                        help="only the row of this name, or all that have it "
                             "in their name")
    parser.add_argument("--list", action="store_true",
                        help="print the names of the rows")
    args = parser.parse_args()
    args.transports = [False] if table.ssl is None else [False, True]
    rows = table.ROWS
    if args.row:
        rows = ([row for row in rows if row.name == args.row]
                or [row for row in rows if args.row in row.name])
        if not rows:
            parser.error(f"no row has {args.row!r} in its name; see --list")
    return args, rows


def main():
    args, rows = parse()
    if args.list:
        with contextlib.suppress(BrokenPipeError):
            print(*[row.name for row in rows], sep="\n", flush=True)
        return 0
    report = Report(len(rows))
    tries = {}
    with contextlib.ExitStack() as stack:
        for tls in args.transports:
            tries[tls] = Tries(tls)
            stack.callback(tries[tls].close)
        for number, row in enumerate(rows, 1):
            for each in get_tries(row, number, args):
                fault = tries[each.tls].get_fault(row, each)
                report.add(row, each, fault)
                if fault and "Timeout" in fault:
                    break       # do not wait for the rest of this row
            report.show_progress(number)
    report.show_summary()
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
