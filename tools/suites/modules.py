"""Which test modules are run, and what is told about them."""

import re

from tools.common import Failure, build_dir, say
from tools.suites import regrtest
from tools.suites.regrtest import Counts

# Every test module of CPython's that the series can affect, and that needs
# no network.  Those that take longest come first.
STOCK = (
    "test_xmlrpc", "test_logging", "test_httplib", "test_urllib",
    "test_urllib2", "test_urllib2_localnet", "test_urllib_response",
    "test_httpservers", "test_http_cookiejar", "test_robotparser",
    "test_docxmlrpc", "test_wsgiref", "test_sax", "test_xml_dom_xmlbuilder",
    "test_audit", "test___all__",
)
# Whatever a patch changes, these import it.
_ANY = ("test_audit", "test___all__")
# The modules that a change of these packages does not concern, as a pattern.
# All others of Lib/ are imported by nearly all modules.
_SPARED = {"urllib": "test_(xmlrpc|docxmlrpc|logging|httplib)",
           "xmlrpc": "(?!.*xmlrpc).*", "logging": "(?!.*logging).*"}
SHOWN = 10      # failures that are named on the terminal


class Report:
    """What is told while lines are run, and in the end."""

    def __init__(self):
        self.counts = Counts()
        self.lines = 0      # how many were run
        self.missing = []   # (line, why it was not run)

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
        print("\n".join(lines), flush=True)

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


def run(report, base, python, title, names, own, **options):
    """Run the test modules *names*, tell *report*; return {id: status}.

    own: the modules of the series, which have to run, with TLS.
    """
    say(f"{title}: {len(names)} test module{'s' * (len(names) != 1)}")
    outcome = regrtest.run(python, names, log(
        base, title.replace(" ", "-").replace("'", "")), **options)
    if outcome.status and not outcome.verdicts:
        last = outcome.log.read_text("utf-8", "replace").strip().splitlines()
        raise Failure(f"the tests did not start: {last[-1]}; all of it is in "
                      f"{outcome.log}")
    outcome.need([name for name in names if name in own])
    report.tell(title, outcome.counts, outcome.failures, outcome.log,
                outcome.seconds)
    return outcome.tests


def log(base, name):
    """Return the Path of a log file."""
    return build_dir() / "logs" / base.version / f"{name}.log"


def own_modules(patches):
    """Return the names of the test modules that *patches* add."""
    return modules(dict.fromkeys(
        path for patch in patches for path in patch.added))


def modules(paths):
    """Return the names of the test modules among *paths*."""
    found = [re.fullmatch(r"Lib/test/(test_[^/]+)\.py", path)
             for path in paths]
    return [match[1] for match in found if match]


def concerned(names, paths):
    """Return those of the test modules *names* that *paths* concern."""
    changed = modules(paths)
    packages = {path.split("/")[1] for path in paths
                if path.startswith("Lib/") and "/test/" not in path}
    return [name for name in names if name in changed or any(
        name in _ANY or not re.fullmatch(_SPARED.get(package, ""), name)
        for package in packages)]
