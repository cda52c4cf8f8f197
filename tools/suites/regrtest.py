"""Running CPython's regression tests ("python -m test") and reading them."""

import os
import re
import subprocess
import time
import xml.etree.ElementTree as ElementTree
from typing import NamedTuple

from tools.common import run as call

JOBS = 4            # more than processors: most tests wait most of the time
TIMEOUT = 180       # seconds for one module

# "0:00:03 load avg: 0.56 [ 7/11] test_http_cookiejar passed"
_VERDICT = re.compile(r"^\d+:\d\d:\d\d .*?\[ *\d+/\d+(?:/\d+)?\] (test\S+) "
                      r"(.+)$", re.MULTILINE)
# "FAIL: test_chunked (test.test_httplib.BasicTest.test_chunked) (i=3)"
_WRONG = re.compile(r"^(?:FAIL|ERROR): (\S+) \((?:test\.)?(test\S+?)\)",
                    re.MULTILINE)
_NO_TLS = re.compile(r"\b(_?ssl|tls|openssl)", re.IGNORECASE)

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


class Counts(NamedTuple):
    """How many tests passed, failed and were skipped."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other):
        return Counts(*map(sum, zip(self, other)))

    def __str__(self):
        return (f"{self.passed} passed, {self.failed} failed, "
                f"{self.skipped} skipped")


class Outcome:
    """What one run gave."""

    def __init__(self, log, seconds, status):
        self.log = log          # Path of what was printed
        self.seconds = seconds
        self.status = status    # of the process
        self.tests = {}     # "test_httplib.BasicTest.test_x": PASSED, ...
        self.reasons = {}   # id: why skipped
        self.verdicts = {}  # module: regrtest's word
        self.failures = []  # lines for people

    @property
    def counts(self):
        """The Counts; what failed outside of any test counts as well."""
        words = list(self.tests.values())
        return Counts(words.count(PASSED), len(self.failures),
                      words.count(SKIPPED))

    def need(self, modules):
        """Let fail what of *modules* was skipped: whole, or without TLS."""
        for name, reason in self.reasons.items():
            if name.split(".")[0] in modules and _NO_TLS.search(reason):
                self.tests[name] = FAILED
                self.failures.append(f"{name} could not run: {reason}")
        for module, verdict in self.verdicts.items():
            if module in modules and verdict.startswith("skipped"):
                self.failures.append(f"{module} could not run: {verdict}")

    def read(self, report, modules):
        """Take in what was printed and the report, a Path, of *modules*."""
        said = self.log.read_text("utf-8", "replace")
        self.verdicts = dict(_VERDICT.findall(said))
        if report.is_file():    # else it did not get to its end
            for case in ElementTree.parse(report).iter("testcase"):
                name = case.get("name", "").removeprefix("test.")
                if " " in name or not name:
                    continue    # a setUpClass, or a subtest: it was printed
                if any(case.find(tag) is not None
                       for tag in ("failure", "error", "outcome")):
                    self.tests[name] = FAILED
                    self.failures.append(name)
                elif case.find("skipped") is not None:
                    self.tests[name] = SKIPPED
                    self.reasons[name] = case.findtext("skipped") or ""
                else:
                    self.tests[name] = PASSED
        # What the report lacks: subtests, what is set up for several.
        for what, name in dict.fromkeys(_WRONG.findall(said)):
            if what.startswith(("setUp", "tearDown")):
                self.failures.append(f"{what} of {name}")
            elif self.tests.get(name) != FAILED:
                self.tests[name] = FAILED
                self.failures.append(name)
        # Modules that failed although no test of theirs is known to.
        failed = " ".join(self.failures)
        for module in modules:
            verdict = self.verdicts.get(module, "did not finish")
            if not (verdict.startswith(("passed", "skipped"))
                    or module in failed):
                self.failures.append(f"{module} {verdict}")
        if self.status and not self.failures:
            self.failures.append(f"python -m test: status {self.status}")


def environment():
    """Return the environment for tests: nothing that changes an outcome."""
    return {name: value for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "GIT_"))
            and not name.endswith("_COLOR")     # of what is read from logs
            and not name.lower().endswith("_proxy")}


def run(python, modules, log, *, options=(), timeout=TIMEOUT):
    """Run test modules with the interpreter *python*; return an Outcome.

    Warnings are errors, and an altered environment is a failure.  modules:
    names as "test_httplib"; log: Path for everything that is printed;
    options: of "python -m test"; timeout: seconds per module.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    report = log.with_name(f"{log.stem}.xml")
    report.unlink(missing_ok=True)
    argv = [python, "-bb", "-W", "error", "-m", "test", "-v", f"-j{JOBS}",
            "-u", "walltime", "--timeout", timeout, "--fail-env-changed",
            "--junit-xml", report, *options, *modules]
    start = time.monotonic()
    with open(log, "wb") as file:
        file.write(f"$ {' '.join(map(str, argv))}\n".encode())
        file.flush()
        status = subprocess.run(
            list(map(str, argv)), stdin=subprocess.DEVNULL, stdout=file,
            stderr=subprocess.STDOUT, env=environment(),
            cwd=log.parent).returncode
    outcome = Outcome(log, time.monotonic() - start, status)
    outcome.read(report, modules)
    return outcome


def cases(python, module):
    """Return the ids of a module's tests; None if it cannot be imported."""
    done = call([python, "-m", "test", "--list-cases", module], check=False,
                env=environment())
    names = [line.strip().removeprefix("test.")
             for line in done.stdout.splitlines()
             if line.startswith(f"test.{module}.")]
    return None if done.returncode or not names else names
