"""Which test modules are run, and what is told about them."""

import re

from tools.common import build_dir, say
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
# Of those that import everything, such as these, it is not asked.
_ANY = ("test_audit", "test___all__")
_IMPORT = re.compile(r"^(?:import (.+)|from (\S+) import (\([^)]*\)|.+))$",
                     re.MULTILINE)
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

    title: for people and the log's name; own: the modules of the series,
    which have to run, with TLS.
    """
    say(f"{title}: {len(names)} test module{'s' * (len(names) != 1)}")
    outcome = regrtest.run(python, names, log(
        base, title.replace(" ", "-").replace("'", "")), **options)
    regrtest.need_start(outcome)
    outcome.need([name for name in names if name in own])
    report.add(title, outcome)
    return outcome.tests


def log(base, name):
    """Return the Path of a log file."""
    return build_dir() / "logs" / base.version / f"{name}.log"


def own_modules(patches):
    """Return the names of the test modules that *patches* add."""
    return list(dict.fromkeys(
        name for patch in patches for name in modules(patch.added)))


def modules(paths):
    """Return the names of the test modules among *paths*."""
    names = [path[len("Lib/test/"):-len(".py")] for path in paths
             if path.startswith("Lib/test/test_") and path.endswith(".py")]
    return [name for name in names if "/" not in name]


def concerned(names, paths, library):
    """Return those of the test modules *names* that *paths* concern.

    They are among the paths or import one of them, at once or by way of
    other modules of the same packages.  library: the folder Lib/.
    """
    changed = {path[len("Lib/"):-len(".py")].replace("/", ".")
               for path in paths
               if path.startswith("Lib/") and path.endswith(".py")}
    packages = {"test", *(name.partition(".")[0] for name in changed),
                "http", "urllib", "xmlrpc", "logging", "wsgiref"}
    known = {}

    def reached(name):
        """Return the modules that module *name* imports, with itself."""
        if name not in known:
            known[name] = {name}
            for one in _imports(library, name):
                if one.partition(".")[0] in packages:
                    known[name] |= reached(one)
        return known[name]
    return [name for name in names if changed and (
        name in _ANY or reached(f"test.{name}") & changed)]


def _imports(library, name):
    """Yield what the module *name* imports when it is imported itself.

    Read as text: the Python that runs this may not know all of the syntax.
    """
    path = library / name.replace(".", "/")
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if not path.is_file():
        return
    text = re.sub(r"\\\n|#.*", "", path.read_text("utf-8"))
    for plain, start, names in _IMPORT.findall(text):
        yield from re.split(r"[\s,]+", plain or start)
        for one in re.findall(r"\w+", names):
            yield f"{start or name.rpartition('.')[0]}.{one}"
