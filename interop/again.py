"""Run the project's own tests again and again, on a loaded machine.

    python3 interop/again.py                        20 times
    python3 interop/again.py --times 3 --line 3.13 test_http_reuse

Each time, regrtest runs the test modules that the series adds, in another
random order, in two processes, while two more do nothing but compute.  The
seed of each order is printed, and shown with what failed:

    "$(./series python 3.13)" -m test --randseed SEED NAME...

The exit status is 0 if nothing failed.
"""

import argparse
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[1]
BURN = "while True: pass"
PATIENCE = 1800     # seconds for one time
SUM = re.compile(r"^(?:Total tests|Result): .*$", re.MULTILINE)
FAILED = re.compile(r"^(?:FAIL|ERROR|TIMEOUT)\b.*$|^Warning -- .*$|"
                    r"^test \S+ (?:failed|crashed|timed out).*$",
                    re.MULTILINE)


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", metavar="NAME", nargs="*",
                        help="a test module (default: all of Lib/test)")
    parser.add_argument("--times", metavar="N", type=int, default=20,
                        help="default: 20")
    parser.add_argument("--line", help="CPython's line (default: the newest)")
    parser.add_argument("--burners", metavar="N", type=int,
                        default=os.cpu_count(),
                        help="processes that only compute (default: one for "
                             "each CPU)")
    return parser.parse_args()


def interpreter(line):
    done = subprocess.run([sys.executable, TOP / "series", "python",
                           *filter(None, [line])],
                          stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit("again: there is no interpreter; see ./series build")
    return done.stdout.strip()


def once(python, names, seed):
    """Return (regrtest's sum, lines about what failed)."""
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith("PYTHON")}
    with tempfile.TemporaryDirectory(prefix="again-") as folder:
        child = subprocess.Popen(
            [python, "-m", "test", "-j2", "--fail-env-changed",
             f"--randseed={seed}", *names], cwd=folder, text=True,
            errors="replace", env={**environment, "TMPDIR": folder},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True)
        try:
            told, _ = child.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            return "", [f"no end after {PATIENCE} s"]
        finally:
            end(child)
    failed = list(dict.fromkeys(FAILED.findall(told)))
    if child.returncode and not failed:
        failed = told.strip().splitlines()[-3:]
    return ", ".join(SUM.findall(told)), failed


def end(child):
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait()


def main():
    args = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    python = interpreter(args.line)
    names = args.names or sorted(
        path.stem for path in (TOP / "Lib" / "test").glob("test_*.py"))
    burners = [subprocess.Popen([python, "-c", BURN], start_new_session=True)
               for _ in range(args.burners)]
    bad = 0
    try:
        for number in range(1, args.times + 1):
            seed, start = random.randrange(1 << 32), time.monotonic()
            total, failed = once(python, names, seed)
            print(f"{number}: seed {seed}, {time.monotonic() - start:.0f} s; "
                  f"{total}", flush=True)
            for text in failed:
                print(f"  {text}", flush=True)
            bad += bool(failed)
    except KeyboardInterrupt:
        return 130
    finally:
        for burner in burners:
            end(burner)
    print(f"again: {bad} of {args.times} times, something failed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
