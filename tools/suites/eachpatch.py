"""Every patch on its own: the suite passes, its tests fail without it."""

import ast
import concurrent.futures
import dataclasses
import itertools
import re

from tools.common import say
from tools.cpython import stock
from tools.git import show
from tools.patches import series
from tools.suites import modules, regrtest
from tools.suites.regrtest import FAILED, PASSED, SKIPPED, Counts

TIMEOUT = 15        # seconds for a module of which every test should fail
ALONE = 10          # seconds for one of its tests, if that did not end
WAITING = 8         # such tests at a time: most only wait for their end
_GUARD = re.compile(r"\s*# Guard:")
# What http_peer.over_tls() appends to the name of a class.
_OVER_TLS = re.compile(r"TLSv1_\d(?=\.)")


def run(report, base, patches, only=None):
    """Prove the patches on *base*, one after the other; tell *report*.

    only: the name of the one patch to prove.
    """
    chosen = patches if only is None else [series.find(only, patches)]
    commits = ["base", *series.commit_onto(base.repo, patches, base.line,
                                           excludes=base.excludes)]
    for number, patch in enumerate(patches):
        if patch in chosen:
            Proof(report, base, patches[:number + 1], commits[number],
                  commits[number + 1]).run()


@dataclasses.dataclass
class Proof:
    """One patch, the last of *patches*, upon those before it.

    before, after: the commits without and with it.
    """

    report: modules.Report
    base: stock.Base
    patches: list
    before: str
    after: str
    words: list = dataclasses.field(default_factory=list)   # PASSED...
    wrong: list = dataclasses.field(default_factory=list)

    @property
    def patch(self):
        return self.patches[-1]

    def run(self):
        """Run the suite with the patch, and its own tests without it."""
        tests = self._suite()
        python = self.base.interpreter_at(self.before, "without")
        old = {module: regrtest.cases(python, module) or []
               for module in modules.modules(self.patch.files)}
        new = {module: [name for name in tests
                        if name.startswith(f"{module}.")
                        and name not in old[module]] for module in old}
        code = [path for path in self.patch.files
                if path.startswith("Lib/") and "/test/" not in path]
        if code and not any(new.values()):
            self._fail(f"{self.patch.name} changes {code[0]} and adds no "
                       f"test")
        # The patch's tests, without the patch.
        with series.Stack(self.base.repo, self.before) as stack:
            told = stack.git("diff-tree", "-p", "--binary", "--no-renames",
                             self.before, self.after, "--", "Lib/test")
            if told:
                stack.git("apply", "--cached", "-", stdin=told)
            mixture = stack.commit(self.patch.mail())
        python = self.base.interpreter_at(mixture, "without")
        for module, names in new.items():
            if names:
                self._without(python, module, names)
        if self.words:
            self.report.tell(f"{self.patch.name} without", Counts(*map(
                self.words.count, (PASSED, FAILED, SKIPPED))), self.wrong)

    def _suite(self):
        """Run the modules that the patch concerns; return {id: status}."""
        python = self.base.interpreter_at(self.after, "prefix")
        own = modules.own_modules(self.patches)
        names = modules.concerned(dict.fromkeys([*modules.STOCK, *own]),
                                  self.patch.files)
        if not names:
            say(f"{self.patch.name} concerns no test module")
            return {}
        return modules.run(self.report, self.base, python, self.patch.name,
                           names, own)

    def _without(self, python, module, names):
        """See that the tests *names* fail, each for itself."""
        if regrtest.cases(python, module) is None:
            self._fail(f"{module} cannot be imported without the patch, and "
                       f"a failed import proves nothing: import what is new "
                       f"in the tests")
            return
        words = self._run(python, module, names)
        guards = guarded(show(self.base.repo, self.after,
                              f"Lib/test/{module}.py").decode())
        for name in names:
            written = _OVER_TLS.sub("", ".".join(name.split(".")[1:]))
            self._judge(name, words.get(name), written in guards)

    def _run(self, python, module, names):
        """Return {id: status} of tests, of which some may never end."""
        log = modules.log(self.base, f"{self.patch.name}-without/{module}")
        words = self._try(python, module, names, log, TIMEOUT)
        with concurrent.futures.ThreadPoolExecutor(WAITING) as pool:
            for told in pool.map(lambda name: self._try(
                    python, module, [name], log.with_name(f"{name}.log"),
                    ALONE), [name for name in names if name not in words]):
                words.update(told)
        return words

    def _try(self, python, module, names, log, timeout):
        """Run some tests of a module; return {id: status}."""
        log.parent.mkdir(parents=True, exist_ok=True)
        chosen = log.with_name(f"{log.stem}.txt")
        chosen.write_text("".join(f"test.{name}\n" for name in names))
        outcome = regrtest.run(python, [module], log, timeout=timeout,
                               options=["--matchfile", chosen])
        words = {name: outcome.tests[name] for name in names
                 if name in outcome.tests}
        # Alone, one that does not end or takes the process with it failed.
        verdict = outcome.verdicts.get(module, "")
        if len(names) == 1 and not words and not verdict.startswith((
                "passed", "skipped", "failed", "run no tests")):
            words[names[0]] = FAILED
        return words

    def _judge(self, name, word, guard):
        if word == SKIPPED or word == (PASSED if guard else FAILED):
            self.words.append(SKIPPED if word == SKIPPED else PASSED)
        elif word is None:
            self._fail(f"{name} does not get to run without the patch: what "
                       f"is set up for it fails, which proves nothing")
        elif guard:
            self._fail(f"{name} is marked as a guard and fails without the "
                       f"patch: remove the mark")
        else:
            self._fail(f"{name} passes without the patch: it tests nothing "
                       f"new, or needs a comment above it: # Guard: why")

    def _fail(self, text):
        self.words.append(FAILED)
        self.wrong.append(text)


def guarded(source):
    """Return the names, as "Class.test_method", that are marked as guards.

    The comment "# Guard: ..." stands above the method, or above its class
    for all methods.  A class has the methods of its bases in the module.
    """
    lines = source.splitlines()
    classes = {node.name: node for node in ast.parse(source).body
               if isinstance(node, ast.ClassDef)}

    def marked(node):
        first = min(one.lineno for one in (node, *node.decorator_list))
        above = itertools.takewhile(
            lambda line: line.lstrip().startswith("#"),
            reversed(lines[:first - 1]))
        return any(map(_GUARD.match, above))

    def methods(name):
        """Return {method: whether it is marked}, bases included."""
        node = classes[name]
        found = {}
        for base in reversed(node.bases):
            base = getattr(base, "id", None)
            if base in classes and base != name:
                found.update(methods(base))
        whole = marked(node)
        for part in node.body:
            if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef)):
                found[part.name] = marked(part)
        return {method: whole or mark for method, mark in found.items()}

    return {f"{name}.{method}" for name in classes
            for method, mark in methods(name).items() if mark}
