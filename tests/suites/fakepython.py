"""What tools/suites needs of "python -m test", for a tree that is tiny.

Called with the tree's folder, then the arguments of a Python interpreter.
"""

import argparse
import importlib
import signal
import sys
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path

# The tree moves between commits faster than bytecode notices.
sys.dont_write_bytecode = True


class Result(unittest.TextTestResult):
    """Prints names as from 3.11 on; passed: list of tests."""

    def __init__(self, *args):
        super().__init__(*args)
        self.passed = []

    def getDescription(self, test):
        name, _, part = test.id().partition(" ")
        return (f"{name.rpartition('.')[2]} ({name}) {part}" if "." in name
                else test.id())

    def addSuccess(self, test):
        self.passed.append((test, ""))
        super().addSuccess(test)

    def report(self):
        """Return the element for the file of --junit-xml."""
        suite = ElementTree.Element("testsuite")
        for tag, tests in (("passed", self.passed), ("error", self.errors),
                           ("failure", self.failures),
                           ("skipped", self.skipped)):
            for test, text in tests:
                case = ElementTree.SubElement(suite, "testcase",
                                              name=test.id())
                ElementTree.SubElement(case, tag).text = text
        return suite


def flat(suite):
    for part in suite:
        yield from flat(part) if isinstance(part, unittest.TestSuite) else [
            part]


def load(module):
    return unittest.defaultTestLoader.loadTestsFromModule(
        importlib.import_module(f"test.{module}"))


def run(module, args, report):
    """Run a module, add to the report; return regrtest's word for it."""
    try:
        tests = load(module)
    except unittest.SkipTest as exc:
        return f"skipped -- {exc}"
    except Exception:
        return "failed (uncaught exception)"
    if args.matchfile:
        chosen = Path(args.matchfile).read_text().split()
        tests = unittest.TestSuite(test for test in flat(tests)
                                   if test.id() in chosen)
    result = unittest.TextTestRunner(sys.stdout, resultclass=Result).run(tests)
    report.append(result.report())
    return "passed" if result.wasSuccessful() else "failed"


def main(tree, argv):
    sys.path.insert(0, f"{tree}/Lib")
    parser = argparse.ArgumentParser()
    for option in "--timeout", "--junit-xml", "--matchfile", "--list-cases":
        parser.add_argument(option)
    args, rest = parser.parse_known_args(argv)
    if args.list_cases:
        for test in flat(load(args.list_cases)):
            print(test.id())
        return
    report = ElementTree.Element("testsuites")
    words = []
    for module in [word for word in rest if word.startswith("test_")]:
        verdict = f"0:00:01 load avg: 0.10 [1/1] {module}"

        def give_up(*ignored):
            print(f"{verdict} worker non-zero exit code", flush=True)
            signal.raise_signal(signal.SIGKILL)

        signal.signal(signal.SIGALRM, give_up)
        signal.setitimer(signal.ITIMER_REAL, float(args.timeout))
        words.append(run(module, args, report))
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(f"{verdict} {words[-1]}")
    ElementTree.ElementTree(report).write(args.junit_xml)
    sys.exit(2 if "failed" in " ".join(words) else 0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[sys.argv.index("test") + 1:])
