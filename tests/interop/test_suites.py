"""interop/suites.py: how outcomes are read and judged, and its projects."""

import configparser
import json
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "interop"))

import outcomes  # noqa: E402
import suites  # noqa: E402

INI = """\
[one]
version = 1
why = it is one

[one known]
t.py::Known =
    first line
    second line

[one unstable]
t.py::maybe = it measures time
"""


def report(name, outcome, when="call", **more):
    return json.dumps({"nodeid": name, "outcome": outcome, "when": when,
                       "longrepr": None, **more}) + "\n"


@pytest.fixture
def project():
    ini = configparser.ConfigParser(interpolation=None, delimiters="=")
    ini.optionxform = str
    ini.read_string(INI)
    return ini["one"]


@pytest.mark.parametrize("lines, outcome", [
    ([report("a", "passed", "setup"), report("a", "passed")], "passed"),
    ([report("a", "passed"), report("a", "failed", "teardown", longrepr={
        "reprcrash": {"message": "a.b.Error: text"}})], "failed: Error"),
    ([report("a", "failed", longrepr="E\nno such fixture")], "failed: no"),
    ([report("a", "skipped", wasxfail="why")], "xfailed"),
    ([report("a", "skipped", "setup")], "skipped"),
    ([report("a", "passed"), '{"nodeid": "a", "outc'], "passed"),
])
def test_outcome_is_the_worst_of_the_parts(lines, outcome, tmp_path):
    path = tmp_path / "report.json"
    path.write_text("".join(lines))
    assert outcomes.read(path) == {"a": outcome}


@pytest.mark.parametrize("text, status", [
    ("", None), (report("a", "passed"), None),
    (report("a", "passed") + '{"exitstatus": 1}\n', 1),
    (report("a", "passed") + '{"exitstatus": 1', None),
])
def test_end_of_a_run(text, status, tmp_path):
    path = tmp_path / "report.json"
    if text:
        path.write_text(text)
    assert outcomes.exit_status(path) == status


@pytest.mark.parametrize("name, stock, patched, kind", [
    ("t.py::new", ["passed"], ["failed: E"], "unexplained"),
    ("t.py::new", ["failed: E"], ["failed: F"], "unexplained"),
    ("t.py::new", ["passed", "passed"], ["passed", "failed: E"],
     "unexplained"),
    ("t.py::new", ["passed", "failed: E"], ["passed", "passed"], "unstable"),
    ("t.py::maybe[1]", ["passed"], ["failed: E"], "unstable"),
    ("t.py::maybes", ["passed"], ["failed: E"], "unexplained"),
    ("t.py::Known::test", ["passed"], ["failed: E"], "known"),
    ("t.py::new", ["passed"], [None], "unexplained"),
])
def test_difference(name, stock, patched, kind, project):
    runs = [[{name: outcome} if outcome else {} for outcome in side]
            for side in (stock, patched)]
    result = outcomes.judge(project, *runs)
    assert {kind: [row["test"] for row in result[kind]]
            for kind in outcomes.KINDS if result[kind]} == {kind: [name]}
    if kind == "known":
        assert result["known"][0]["why"] == "first line second line"


def test_known_difference_that_is_gone(project):
    same = [{"t.py::Known::test": "passed"}]
    result = outcomes.judge(project, same, same)
    assert (result["gone"], result["passed"]) == (["t.py::Known"], 1)


def test_sections():
    projects = suites.load([])
    assert len(projects) >= 15
    parser = next(iter(projects.values())).parser
    for section in parser.sections():
        name, _, kind = section.partition(" ")
        assert name in projects and kind in ("", *outcomes.KINDS[:2])
        assert all(parser[section].values())
        if not kind:
            assert {"version", "why", "tests"} <= set(parser[section])
            assert len(parser[section]["why"]) < 76
