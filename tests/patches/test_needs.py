"""--without, and patches/needs, which says what it may leave out."""

import re

import pytest

import faketree
from faketree import git, series
from tools.common import ROOT
from tools.patches import needs, placement, series as real, status, targets

NEAREST = needs.read(ROOT / "patches")
STANDS_ON = needs.closure(NEAREST)
NAMES = [patch.name for patch in real.load()]

# Names that nobody else is likely to have given; where a patch makes some.
_NAME = re.compile(rb"\b(?:\w*_\w+|[A-Z]\w+)")
_MADE = re.compile(rb"^([+-]) *(?:class|def) (?!__)(\w*_\w+|[A-Z]\w+)",
                   re.MULTILINE)
_MODULE = re.compile(r"/(?!test_)(\w*_\w+)\.py$")
_ADDED = re.compile(rb"^\+.*", re.MULTILINE)


@pytest.fixture
def needing(project):
    """A project in which the last patch needs the second one."""
    faketree.write(project, "patches/needs", "probe-everywhere: probe\n")
    return project


# The option.

def test_left_out(needing, repo):
    done = series(needing, "apply", repo, "--without", "skip-interim",
                  "--without", "probe-everywhere.patch")
    assert done.returncode == 0, done.stderr
    assert git(repo, "log", "--format=%s", "base..") == (
        "gh-2: Look before sending\n")


@pytest.mark.parametrize("without, said", [
    (["probe"], "probe cannot be left out alone, as others stand on it; "
     "leave these out, too: --without probe-everywhere"),
    (["none"], "there is no patch none; the series has: "
     "skip-interim, probe, probe-everywhere"),
    (faketree.NAMES, "nothing is left of the series; leave out less"),
])
@pytest.mark.parametrize("verb", [
    "apply {repo}", "build", "python", "venv {repo}/new",
    "export {repo}/new --tree {repo}"])
def test_what_cannot_be_left_out(needing, repo, verb, without, said):
    before = faketree.snapshot(repo), git(repo, "for-each-ref")
    done = series(needing, *verb.format(repo=repo).split(),
                  *(f"--without={name}" for name in without))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"series: {said}\n"
    assert (faketree.snapshot(repo), git(repo, "for-each-ref")) == before


def test_status(needing, repo, call):
    code, out = call(status, "--tree", repo, "--patches", needing / "patches")
    assert code == 0
    assert out.endswith("""
patch             needs these, and what they need
probe-everywhere  probe
--without can leave out, alone: skip-interim, probe-everywhere
""")


# The series itself.

def test_form():
    """In the order of the series, and without what follows from others."""
    assert list(NEAREST) == [name for name in NAMES if name in NEAREST]
    for name, names in NEAREST.items():
        assert names == [one for one in NAMES[:NAMES.index(name)]
                         if one in names], name
        for one in names:
            assert not STANDS_ON.get(one, set()).intersection(names), name


def test_order_of_submission():
    """Each patch comes after what it stands on, and the table names that."""
    text = (ROOT / "patches" / "pr" / "order.md").read_text("utf-8")
    rows = re.findall(r"^\| \d \| (\S+) \| [^|]+ \| ([^|]+) \|", text, re.M)
    places = [name for name, _ in rows]
    assert sorted(places) == sorted(NAMES)
    for place, (name, stands_on) in enumerate(rows):
        assert stands_on == (", ".join(NEAREST.get(name, ())) or "–"), name
        assert STANDS_ON.get(name, set()) <= set(places[:place]), name


def test_names_of_other_patches():
    """What uses a name that only another patch adds stands on that."""
    since = {}
    for patch in real.load():
        diffs = [diff for diff in patch.diffs() if diff.path.endswith(".py")]
        words = {word for diff in diffs for line in _ADDED.findall(diff.text)
                 for word in _NAME.findall(line)}
        own = {name.encode() for diff in diffs if diff.added
               for name in _MODULE.findall(diff.path)}
        for diff in diffs:
            made = _MADE.findall(diff.text)
            own.update(name for sign, name in made
                       if (b"-", name) not in made
                       and "/test_" not in diff.path)
        for name in words & since.keys() - own:
            assert since[name] in STANDS_ON.get(patch.name, ()), (
                patch.name, name)
        since.update(dict.fromkeys(own - since.keys(), patch.name))


@pytest.mark.parametrize("line", targets.LINES)
def test_the_rest_applies(line):
    """Without any one patch, and what stands on it; to the right places."""
    found, _ = targets.at_hand([line])
    if not found:
        pytest.skip(f"not at hand: ./series build {line} gets it")
    target = found[-1]      # with Doc and Misc, if there is such a one

    def stack_on(start):
        return real.Stack(target.repo, start, line, target.excludes)

    with stack_on(target.start) as whole:
        for number, patch in enumerate(real.load()):
            gone = [patch.name, *(name for name in NAMES if patch.name
                                  in STANDS_ON.get(name, ()))]
            with stack_on(whole.head) as stack:
                for one in real.load(without=gone)[number:]:
                    before = stack.git("write-tree").decode().strip()
                    stack.stage(one.mail(), one.name)
                    placement.check(one, target, before, stack.git(
                        "write-tree").decode().strip())
            whole.push(patch)
