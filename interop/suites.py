"""Run other projects' own tests on a stock and on a patched CPython.

    python3 interop/suites.py                   all projects, one by one
    python3 interop/suites.py vcrpy docker      these
    python3 interop/suites.py --list            the projects, and why they

Both interpreters are those of ./series and are built first if need be.  Each
project has a section in interop/suites.ini.  pip fetches its source
distribution and installs, into a virtual environment of each interpreter,
what its tests need; pytest runs the tests in a fresh copy of the source.  The
outcomes are compared test by test, and failures by the exception's class.  If
there is a difference that suites.ini does not know, both sides run again:

  known         suites.ini names the test and says why it differs
  unstable      the outcome on the stock interpreter is not always the same,
                or suites.ini says so
  unexplained   neither

Where `unshare` can make a network of its own, the tests see loopback
addresses only.  What is made lies in build/suites: NAME/stock-1.log is what
pytest printed, and its first line the command.  The result goes to
interop/results/suites.md and suites.json, where a project that was not run
this time keeps the row it had.  The exit status is 0 if all is explained, 1
if something is not, and 2 if a project could not be run.
"""

import argparse
import collections
import configparser
import contextlib
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import time
from typing import NamedTuple

TOP = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP))
sys.dont_write_bytecode = True

from tools import pip  # noqa: E402
from tools.interpreters import build, venv  # noqa: E402
from tools.common import LINES, Failure, build_dir  # noqa: E402

import outcomes  # noqa: E402

TOOLS = ["pytest", "pytest-timeout", "pytest-reportlog"]
TEST_TIMEOUT = 60       # seconds for a test
RUN_TIMEOUT = 1800      # seconds for all tests of a project
EXIT_TIMEOUT = 20       # seconds for pytest to exit after them
LOOPBACK = ["unshare", "--map-root-user", "--net", "sh", "-c",
            'ip link set lo up && exec "$@"', "sh"]


class Side(NamedTuple):
    """The stock or the patched interpreter."""

    name: str
    python: pathlib.Path
    environment: dict


def main():
    args = parse()
    # So that no test goes on alone.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        projects = load(args.names)
        if args.list:
            for name, project in projects.items():
                print(f"{title(project)}: {project['why']}")
            return 0
        sides = interpreters(args)
        network = [] if subprocess.run(
            [*LOOPBACK, "true"], capture_output=True).returncode else LOOPBACK
        if not network:
            print("the tests are not kept from the network: no unshare")
        return max([one(name, project, sides, args, network)
                    for name, project in projects.items()])
    except Failure as exc:
        sys.exit(f"suites: {exc}")


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", metavar="NAME", nargs="*",
                        help="a project in suites.ini (default: all)")
    parser.add_argument("--list", action="store_true",
                        help="show the projects, run nothing")
    parser.add_argument("--line", default="3.13", choices=LINES,
                        help="CPython's line (default: 3.13, for which most "
                             "packages have wheels)")
    parser.add_argument("--lib", metavar="DIR", type=pathlib.Path,
                        help="the patched side is the stock interpreter with "
                             "the modules in DIR before its own, as in "
                             "\"$(./series tree 3.13)/Lib\"; the result "
                             "is shown only")
    parser.add_argument("--runs", metavar="N", type=int, default=3,
                        help="how often both sides run at most (default: 3)")
    return parser.parse_args()


def load(names):
    """Return {name: section of suites.ini} of the projects to run."""
    ini = configparser.ConfigParser(interpolation=None, delimiters="=")
    ini.optionxform = str       # names of tests are not lower-cased
    ini.read(pathlib.Path(__file__).with_suffix(".ini"), encoding="utf-8")
    unknown = [name for name in names if name not in ini]
    if unknown:
        raise Failure(f"suites.ini has no {', '.join(unknown)}; see --list")
    return {name: ini[name] for name in names or
            [section for section in ini.sections() if " " not in section]}


def title(project):
    return f"{project.name} {project['version']}"


def interpreters(args):
    base, patched = build.patched(args.line)
    stock = base.interpreter_at("base", "stock")
    plain = {"PYTHONDONTWRITEBYTECODE": "1"}
    if args.lib is None:
        return [Side("stock", stock, plain), Side("patched", patched, plain)]
    if not (args.lib / "http" / "client.py").is_file():
        raise Failure(f"{args.lib} has no http/client.py; name a Lib")
    return [Side("stock", stock, plain), Side("patched", stock, {
        **plain, "PYTHONPATH": str(args.lib.resolve())})]


def one(name, project, sides, args, network):
    """Compare one project's tests; return the exit status for it."""
    print(f"{title(project)}: {project['why']}", flush=True)
    place = build_dir() / "suites" / name
    seen = {side.name: [] for side in sides}
    try:
        for side in sides:
            install(side, place, project)
        source = fetch(sides[0], place, project)
        for number in range(1, args.runs + 1):
            for side in sides:
                seen[side.name].append(run_tests(
                    side, place, project, source, number, network))
            result = outcomes.judge(project, seen["stock"], seen["patched"])
            if not result["unexplained"]:
                break
    except (Failure, OSError) as exc:
        print(f"  could not be run: {exc}")
        return 2
    outcomes.show(result)
    if args.lib is None:
        outcomes.write(name, {"python": ask(sides[0].python), **result})
    return 1 if result["unexplained"] else 0


def install(side, place, project):
    """Make a side's virtual environment, unless it is there."""
    top = place / side.name
    wanted = [pinned(project), *TOOLS, *project.get("needs", "").split()]
    stamp, text = top / "made-of", "\n".join([str(side.python), *wanted])
    if stamp.is_file() and stamp.read_text() == text:
        return
    print(f"  installing for {side.name}", flush=True)
    shutil.rmtree(top, ignore_errors=True)
    call(side.python, "-m", "venv", "--without-pip", top)
    pip.install(top / "bin" / "python", venv.Interpreter(side.python))
    call(top / "bin" / "python", "-m", "pip", "install", "--quiet",
         "--disable-pip-version-check", "--no-input", *wanted)
    stamp.write_text(text)


def pinned(project):
    return f"{project.name}=={project['version']}"


def fetch(side, place, project):
    """Return the path of a project's source distribution."""
    folder = place / f"source-{project['version']}"
    if not folder.is_dir():
        call(place / side.name / "bin" / "python", "-m", "pip", "download",
             "--quiet", "--disable-pip-version-check", "--no-input",
             "--no-deps", f"--no-binary={project.name}", f"--dest={folder}",
             pinned(project))
    return next(folder.iterdir())


def call(*argv):
    done = subprocess.run(list(map(str, argv)), env=pip.environment(),
                          stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, errors="replace")
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise Failure(f"{' '.join(map(str, argv[1:4]))}: "
                      f"{said[-1] if said else done.returncode}")
    return done.stdout.strip()


def ask(python):
    return call(python, "-c", "import platform as p; "
                              "print(p.python_version())")


def run_tests(side, place, project, source, number, network):
    """Run a project's tests once; return {test: outcome}."""
    log = place / f"{side.name}-{number}.log"
    report = log.with_suffix(".json")
    # pytest itself can fall over a timeout between two tests.
    for _ in range(2):
        tree = unpack(source, place / "tree")
        argv, environment = command(side, place, project, report)
        with open(log, "w", encoding="utf-8") as file:
            print(shlex.join(argv), file=file, flush=True)
            child = subprocess.Popen(
                [*network, *argv], cwd=tree, env=environment, stdout=file,
                stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT,
                start_new_session=True)
            try:
                watch(child, f"{side.name}, run {number}", report)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        told = outcomes.read(report)
        if told and outcomes.exit_status(report) in (0, 1):
            return told
    raise Failure(f"pytest did not come to its end; see {log}")


def unpack(source, folder):
    """Make a new copy of a source distribution; return its top."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    call("tar", "--extract", "--no-same-owner", f"--file={source}",
         f"--directory={folder}")
    top = next(folder.iterdir())
    # Without a configuration of its own, a project would get ours.
    (folder / "pytest.ini").touch()
    return top


def command(side, place, project, report):
    """Return the arguments and the environment of a run."""
    # Some tests have paths in their names.
    same = place / "venv"
    same.unlink(missing_ok=True)
    same.symlink_to(side.name)
    programs = same / "bin"
    site = next(same.glob("lib/*/site-packages"))
    report.unlink(missing_ok=True)
    own = project.get("environment", "").replace("{site}", str(site))
    # Nothing of this machine's proxies, certificates and settings.
    environment = {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(place / "tree"), "LANG": "C.UTF-8", **side.environment,
        **dict(pair.split("=", 1) for pair in own.split())}
    before = project.get("before", ":")
    return ["sh", "-c", f'{before}\n"$@"', "sh",
            str(programs / "python"), "-m", "pytest", "-rfE",
            "--rootdir=.", "-o", "addopts=", "-p", "no:cacheprovider",
            "--tb=short",
            "--continue-on-collection-errors", f"--timeout={TEST_TIMEOUT}",
            f"--report-log={report}",
            *shlex.split(project["tests"])], environment


def watch(child, what, report):
    """Say how far a run is, until it ends."""
    start = time.monotonic()
    ended = None
    while child.poll() is None:
        taken = time.monotonic() - start
        # A thread that a test has left can keep pytest from exiting.
        ended = ended or outcomes.exit_status(report) is not None and taken
        if taken > (ended + EXIT_TIMEOUT if ended else RUN_TIMEOUT):
            os.killpg(child.pid, signal.SIGKILL)
        if sys.stdout.isatty():
            print(f"\r  {what}: {len(outcomes.read(report))} tests, "
                  f"{taken:.0f} s ", end="", flush=True)
        time.sleep(1)
    kinds = collections.Counter(
        outcome.split(":")[0] for outcome in outcomes.read(report).values())
    print(f"\r  {what}: " + ", ".join(
        f"{count} {kind}" for kind, count in kinds.most_common())
        + f" in {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
