"""What interop/suites.py makes of the outcomes of tests."""

import json
import pathlib

RESULTS = pathlib.Path(__file__).parent / "results" / "suites.json"
# A test has the last of the outcomes that its parts have.
OUTCOMES = ["skipped", "passed", "xfailed", "xpassed", "failed"]
SHOWN = 10      # unexplained tests; all are in the result
KINDS = ["known", "unstable", "unexplained"]
COUNTS = ["tests", "passed", "failed on both", "skipped"]
HEADING = """\
Other projects' own tests, run on a stock CPython and on one with the series
by `python3 interop/suites.py`, and compared test by test.

"""


def read(path):
    """Return {test: outcome} of a report log, with a failure's class."""
    outcomes = {}
    for report in map(json.loads, lines(path)):
        outcome, phase = report.get("outcome"), report.get("when")
        if "wasxfail" in report:
            outcome = {"skipped": "xfailed", "passed": "xpassed"}[outcome]
        elif outcome == "failed":
            outcome += f": {failure(report['longrepr'])}"
        elif outcome is None or phase in (None, "setup", "teardown") \
                and outcome == "passed":
            continue
        name = report["nodeid"]
        outcomes[name] = max(
            outcome, outcomes.get(name, outcome),
            key=lambda text: OUTCOMES.index(text.split(":")[0]))
    return outcomes


def exit_status(path):
    """Return pytest's exit status; None if it has not come to its end."""
    last = json.loads((lines(path) or ["{}"])[-1])
    return last.get("exitstatus")


def lines(path):
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    # The last line may not be there as a whole yet.
    return text.split("\n")[:-1]


def failure(told):
    """Return the name of the exception's class."""
    try:
        text = told["reprcrash"]["message"]
    except (TypeError, KeyError):
        text = str(told).strip().splitlines()[-1]
    words = text.split(":")[0].split("(")[0].split()
    return words[0].rpartition(".")[2] if words else "?"


def judge(project, stock_runs, patched_runs):
    """Return the counts, and the tests that differ with the reasons."""
    known, unstable = [reasons(project, key) for key in KINDS[:2]]
    result = {"version": project["version"], "why": project["why"],
              "tests": 0, "passed": 0, "failed on both": 0, "skipped": 0,
              **{kind: [] for kind in KINDS}}
    for name in sorted({name for run in stock_runs + patched_runs
                        for name in run}):
        stock, patched = [{run.get(name, "not run") for run in runs}
                          for runs in (stock_runs, patched_runs)]
        result["tests"] += 1
        if stock == patched and len(stock) == 1:
            first = min(stock).split(":")[0]
            result[{"failed": "failed on both", "skipped": "skipped"}
                   .get(first, "passed")] += 1
            continue
        why = find(known, name)
        kind = "known" if why else "unexplained"
        if not why and (find(unstable, name) or len(stock) > 1):
            why, kind = find(unstable, name), "unstable"
        result[kind].append({
            "test": name, "stock": " or ".join(sorted(stock)),
            "patched": " or ".join(sorted(patched)), "why": why})
    result["gone"] = [test for test in known if not any(
        find({test: "it"}, row["test"]) for row in result["known"])]
    return result


def reasons(project, kind):
    """Return {test: reason} of the section for it, if there is one."""
    section = f"{project.name} {kind}"
    if section not in project.parser:
        return {}
    return {test: " ".join(why.split())
            for test, why in project.parser[section].items()}


def find(table, name):
    """Return the reason for a test, or for its class or file, or ''."""
    return next((why for test, why in table.items() if name == test
                 or name.startswith((f"{test}[", f"{test}::"))), "")


def show(result):
    """Print what is unexplained, and how much differs otherwise."""
    for row in result["unexplained"][:SHOWN]:
        print(f"  unexplained: {row['test']}\n    {change(row)}")
    for test in result["gone"]:
        print(f"  known, but does not differ: {test}")
    print("  " + ", ".join(f"{len(result[kind])} {kind}" for kind in KINDS),
          flush=True)


def change(row):
    why = f"; {row['why']}" if row["why"] else ""
    return f"{row['stock']} on stock, {row['patched']} on patched{why}"


def write(name, result):
    """Put a project's result into suites.json, and make suites.md of it."""
    told = {}
    if RESULTS.is_file():
        told = json.loads(RESULTS.read_text(encoding="utf-8"))
    told = dict(sorted({**told, name: result}.items()))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    RESULTS.with_suffix(".md").write_text(markdown(told), encoding="utf-8")


def markdown(told):
    """Return the table of all projects, and the list of what differs."""
    columns = [*COUNTS, *KINDS]
    lines = [f"| project | CPython | {' | '.join(columns)} |",
             "|---|---|" + "--:|" * len(columns)]
    for name, result in told.items():
        figures = [result[key] if key in COUNTS else len(result[key])
                   for key in columns]
        lines.append(f"| {name} {result['version']} | {result['python']} | "
                     + " | ".join(map(str, figures)) + " |")
    for name, result in told.items():
        rows = [f"- {kind}: `{row['test']}`: {change(row)}"
                for kind in KINDS for row in result[kind]]
        if rows:
            lines += ["", f"## {name}", "", *rows]
    return HEADING + "\n".join(lines) + "\n"
