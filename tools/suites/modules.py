"""Which test modules are run, and what is told about them."""

from tools.common import Failure, build_dir, say
from tools.suites import regrtest
from tools.suites.regrtest import Counts

# Every test module of CPython's that the series can affect, and that needs
# no network.
STOCK = (
    "test_httplib", "test_urllib", "test_urllib2", "test_urllib2_localnet",
    "test_urllib_response", "test_xmlrpc", "test_httpservers",
    "test_http_cookiejar", "test_robotparser", "test_docxmlrpc",
    "test_logging", "test_wsgiref", "test_sax", "test_xml_dom_xmlbuilder",
    "test_audit", "test___all__",
)
SHOWN = 10      # failures that are named on the terminal


class Report:
    """What is told while lines are run, and in the end.

    Attributes: counts (all tests), lines (how many lines were run), missing
    (list of (line, why it was not run)).
    """

    def __init__(self):
        self.counts = Counts()
        self.lines = 0
        self.missing = []

    def add(self, title, outcome):
        """Tell one Outcome and count it."""
        self.tell(title, outcome.counts, outcome.failures, outcome.log,
                  outcome.seconds)

    def tell(self, title, counts, failures, log=None, seconds=None):
        """Print one line, and what failed below it."""
        self.counts += counts
        took = f" in {seconds:.0f} s" if seconds is not None else ""
        lines = [f"{title + ':':<30} {counts}{took}"]
        lines += [f"  FAILED {text}" for text in failures[:SHOWN]]
        if len(failures) > SHOWN:
            lines.append(f"  and {len(failures) - SHOWN} more")
        if failures and log and log.exists():
            lines.append(f"  all of it: {log}")
        # In one piece, as another thread may be telling something.
        print("\n".join(lines) + "\n", end="", flush=True)

    def close(self):
        """Print the last lines; return the exit status."""
        for line, why in self.missing:
            print(f"NOT RUN: {line}: {why}")
        if not self.lines:
            print("no line was run")
        names = ", ".join(str(line) for line, _ in self.missing)
        print(f"{self.counts}{f'; NOT RUN: {names}' if names else ''}",
              flush=True)
        good = self.lines and self.counts.passed and not self.counts.failed
        return 0 if good else 1


def run(report, base, python, patches, *, name, only=None):
    """Run the suite with an interpreter that has *patches*; tell *report*.

    name: for titles and logs; only: names of the test modules to run, of
    those that would be.  Returns {id: status} of all tests.
    """
    own = own_modules(patches)
    groups = {"own": own, "CPython's": [one for one in STOCK
                                        if one not in own]}
    tests = {}
    for group, names in groups.items():
        names = [one for one in names if only is None or one in only]
        if not names:
            continue
        say(f"{name}: {len(names)} test modules, {group}")
        outcome = regrtest.run(python, names, log(
            base, f"{name}-{'own' if group == 'own' else 'stock'}"))
        regrtest.need_start(outcome)
        if group == "own":
            outcome.need_tls()
            outcome.need_modules()
        report.add(f"{name} {group}", outcome)
        tests.update(outcome.tests)
    return tests


def log(base, name):
    """Return the Path of a log file."""
    return build_dir() / "logs" / base.version / f"{name}.log"


def find(name, patches):
    """Return the patch called *name*; Failure lists them all if none is."""
    for patch in patches:
        if patch.name == name:
            return patch
    raise Failure(f"there is no patch {name}; the series has: "
                  f"{', '.join(patch.name for patch in patches)}")


def own_modules(patches):
    """Return the names of the test modules that *patches* add."""
    return list(dict.fromkeys(
        name for patch in patches for name in modules(patch.added)))


def modules(paths):
    """Return the names of the test modules among *paths*."""
    names = [path[len("Lib/test/"):-len(".py")] for path in paths
             if path.startswith("Lib/test/test_") and path.endswith(".py")]
    return [name for name in names if "/" not in name]
