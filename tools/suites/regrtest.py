"""Running CPython's regression tests ("python -m test") and reading them."""

import os
import re
import subprocess
import time
import xml.etree.ElementTree as ElementTree

from tools.common import Failure

JOBS = 2
TIMEOUT = 180       # seconds for one module

# "0:00:03 load avg: 0.56 [ 7/11] test_http_cookiejar passed"
_VERDICT = re.compile(r"^\d+:\d\d:\d\d .*?\[ *\d+/\d+(?:/\d+)?\] (test\S+) "
                      r"(.+)$", re.MULTILINE)
# "FAIL: test_chunked (test.test_httplib.BasicTest.test_chunked) (i=3)"
_WRONG = re.compile(r"^(?:FAIL|ERROR): (\S+) \((?:test\.)?(test\S+?)\)",
                    re.MULTILINE)
_NO_TLS = re.compile(r"\b(_?ssl|tls|openssl)", re.IGNORECASE)

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


class Counts:
    """How many tests passed, failed and were skipped."""

    def __init__(self, passed=0, failed=0, skipped=0):
        self.passed = passed
        self.failed = failed
        self.skipped = skipped

    def __iadd__(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        return self

    def __str__(self):
        return (f"{self.passed} passed, {self.failed} failed, "
                f"{self.skipped} skipped")


class Outcome:
    """What one run gave.

    Attributes: tests ({id: PASSED, FAILED or SKIPPED}; an id is as
    "test_httplib.BasicTest.test_chunked"), reasons ({id: why skipped}),
    verdicts ({module: regrtest's word}), failures (lines for people), log
    (Path), seconds, status (of the process).
    """

    def __init__(self, log):
        self.log = log
        self.tests = {}
        self.reasons = {}
        self.verdicts = {}
        self.failures = []
        self.seconds = 0.0
        self.status = 0

    @property
    def counts(self):
        """The Counts; what failed outside of any test counts as well."""
        words = list(self.tests.values())
        return Counts(words.count(PASSED), len(self.failures),
                      words.count(SKIPPED))

    def need_tls(self):
        """Turn into failures what was skipped because TLS is missing."""
        for name, reason in self.reasons.items():
            if _NO_TLS.search(reason):
                self.tests[name] = FAILED
                self.failures.append(f"{name} could not run: {reason}")

    def need_modules(self):
        """Turn into failures the modules that were skipped as a whole."""
        for module, verdict in self.verdicts.items():
            if verdict.startswith("skipped"):
                self.failures.append(f"{module} could not run: {verdict}")


def environment():
    """Return the environment for tests: nothing that changes an outcome."""
    return {name: value for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "GIT_"))
            and not name.endswith("_COLOR")     # of what is read from logs
            and not name.lower().endswith("_proxy")}


def run(python, modules, log, *, strict=True, options=(), timeout=TIMEOUT):
    """Run test modules with the interpreter *python*; return an Outcome.

    modules: names as "test_httplib"; log: Path of the file for everything
    that is printed; strict: with warnings as errors, and an altered
    environment a failure; options: further ones of "python -m test";
    timeout: seconds per module.
    """
    if not modules:
        return Outcome(log)
    log.parent.mkdir(parents=True, exist_ok=True)
    report = log.with_name(f"{log.stem}.xml")
    report.unlink(missing_ok=True)
    argv = [python, *(["-bb", "-W", "error"] if strict else []), "-m", "test",
            "-v", f"-j{JOBS}", "-u", "walltime", "--timeout", str(timeout),
            "--junit-xml", report, *(["--fail-env-changed"] * strict),
            *options, *modules]
    outcome = Outcome(log)
    start = time.monotonic()
    with open(log, "wb") as file:
        file.write(f"$ {' '.join(map(str, argv))}\n".encode())
        file.flush()
        outcome.status = subprocess.run(
            list(map(str, argv)), stdin=subprocess.DEVNULL, stdout=file,
            stderr=subprocess.STDOUT, env=environment(),
            cwd=log.parent).returncode
    outcome.seconds = time.monotonic() - start
    said = log.read_text("utf-8", "replace")
    outcome.verdicts = dict(_VERDICT.findall(said))
    _read_report(outcome, report)
    _add_printed(outcome, said)
    _add_modules(outcome, modules)
    return outcome


def _read_report(outcome, report):
    try:
        suites = ElementTree.parse(report).getroot()
    except (OSError, ElementTree.ParseError):
        return      # the run did not get to its end, as its status tells
    for case in suites.iter("testcase"):
        name = short(case.get("name", ""))
        if " " in name or not name:
            continue    # a setUpClass, or a subtest failed: it was printed
        word = outcome.tests[name] = _word(case)
        if word == FAILED:
            outcome.failures.append(name)
        if word == SKIPPED:
            outcome.reasons[name] = case.findtext("skipped") or ""


def _add_printed(outcome, said):
    """Add what the report lacks: subtests, what is set up for several."""
    for what, name in dict.fromkeys(_WRONG.findall(said)):
        if what.startswith(("setUp", "tearDown")):
            outcome.failures.append(f"{what} of {name}")
        elif outcome.tests.get(name) != FAILED:
            outcome.tests[name] = FAILED
            outcome.failures.append(name)


def _word(case):
    if (case.find("failure") is not None or case.find("error") is not None
            or case.find("outcome") is not None):
        return FAILED
    return PASSED if case.find("skipped") is None else SKIPPED


def short(name):
    """Return a test's id without the package."""
    return name.removeprefix("test.")


def _add_modules(outcome, modules):
    """Add the modules that failed although no test of theirs is known to."""
    failed = " ".join(outcome.failures)
    for module in modules:
        verdict = outcome.verdicts.get(module, "did not finish")
        if verdict.startswith(("passed", "skipped")) or module in failed:
            continue
        outcome.failures.append(f"{module} {verdict}")
    if outcome.status and not outcome.failures:
        outcome.failures.append(f"python -m test: status {outcome.status}")


def cases(python, module):
    """Return the ids of a module's tests; None if it cannot be imported."""
    done = subprocess.run(
        [python, "-m", "test", "--list-cases", module], text=True,
        stdin=subprocess.DEVNULL, capture_output=True,
        env=environment(), errors="replace")
    names = [short(line.strip()) for line in done.stdout.splitlines()
             if line.startswith(f"test.{module}.")]
    if done.returncode or not names:
        return None
    return names


def need_start(outcome):
    """Raise Failure if a run did not even start."""
    if outcome.status and not outcome.verdicts:
        last = outcome.log.read_text("utf-8", "replace").strip().splitlines()
        raise Failure(f"the tests did not start: {last[-1]}; all of it is in "
                      f"{outcome.log}")
