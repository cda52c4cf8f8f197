"""What tools/regrtest.py needs of "python -m test", for a tree that is tiny.

Called with the tree's folder, then the arguments of a Python interpreter.
"""

import argparse
import importlib.util
import signal
import sys
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path

# The tree moves between commits faster than bytecode notices.
sys.dont_write_bytecode = True


class Result(unittest.TextTestResult):

    def __init__(self, *args):
        super().__init__(*args)
        self.suite = ElementTree.Element("testsuite")

    def getDescription(self, test):
        """As from 3.11 on, whichever Python runs this."""
        case = getattr(test, "test_case", test)
        if not isinstance(case, unittest.TestCase):
            return str(test)
        name = case.id().rpartition(".")[2]
        return f"{name} ({case.id()})" + (
            "" if case is test else f" {test._subDescription()}")

    def add(self, test, **what):
        case = ElementTree.SubElement(self.suite, "testcase", name=test.id())
        for tag, text in what.items():
            ElementTree.SubElement(case, tag).text = str(text)

    def addSuccess(self, test):
        self.add(test)
        super().addSuccess(test)

    def addError(self, test, err):
        self.add(test, error=err)
        super().addError(test, err)

    def addFailure(self, test, err):
        self.add(test, failure=err)
        super().addFailure(test, err)

    def addSkip(self, test, reason):
        self.add(test, skipped=reason)
        super().addSkip(test, reason)


def load(tree, module):
    path = tree / "Lib" / "test" / f"{module}.py"
    spec = importlib.util.spec_from_file_location(f"test.{module}", path)
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded
    spec.loader.exec_module(loaded)
    return unittest.defaultTestLoader.loadTestsFromModule(loaded)


def flat(suite):
    for part in suite:
        if isinstance(part, unittest.TestSuite):
            yield from flat(part)
        else:
            yield part


def run(module, tree, args):
    """Return (regrtest's word, the suite's XML or None)."""
    try:
        tests = list(flat(load(tree, module)))
    except unittest.SkipTest as exc:
        print(f"{module} skipped -- {exc}")
        return "skipped", None
    except Exception as exc:
        print(exc)
        return "failed (uncaught exception)", None
    if args.matchfile:
        chosen = Path(args.matchfile).read_text().split()
        tests = [test for test in tests if test.id() in chosen]
    runner = unittest.TextTestRunner(sys.stdout, resultclass=Result)
    result = runner.run(unittest.TestSuite(tests))
    if result.wasSuccessful():
        return "passed", result.suite
    return f"failed ({len(result.failures)} failures)", result.suite


def main(tree, argv):
    sys.path.insert(0, str(tree / "Lib"))
    parser = argparse.ArgumentParser()
    for option in "--timeout", "--junit-xml", "--matchfile", "-R", "-u":
        parser.add_argument(option)
    parser.add_argument("-j")
    parser.add_argument("-v", action="store_true")
    parser.add_argument("--fail-env-changed", action="store_true")
    parser.add_argument("--list-cases", action="store_true")
    parser.add_argument("modules", nargs="+")
    args = parser.parse_args(argv)
    if args.list_cases:
        for test in flat(load(tree, args.modules[0])):
            print(test.id())
        return 0
    report = ElementTree.Element("testsuites")
    words = []

    def give_up(*ignored):
        tell("worker non-zero exit code (Exit code 1)")
        sys.stdout.flush()
        signal.raise_signal(signal.SIGKILL)

    def tell(word):
        words.append(word)
        print(f"0:00:0{len(words)} load avg: 0.10 [{len(words)}/"
              f"{len(args.modules)}] {args.modules[len(words) - 1]} {word}")

    signal.signal(signal.SIGALRM, give_up)
    for module in args.modules:
        signal.setitimer(signal.ITIMER_REAL, float(args.timeout))
        word, suite = run(module, tree, args)
        signal.setitimer(signal.ITIMER_REAL, 0)
        if suite is not None:
            report.append(suite)
        tell(word)
    ElementTree.ElementTree(report).write(args.junit_xml)
    return 2 if any(word.startswith("failed") for word in words) else 0


if __name__ == "__main__":
    arguments = sys.argv[2:]
    sys.exit(main(Path(sys.argv[1]), arguments[arguments.index("test") + 1:]))
