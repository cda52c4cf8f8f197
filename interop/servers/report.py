"""What interop/servers.py makes of what the clients have told."""

import json
import pathlib

RESULTS = pathlib.Path(__file__).parents[1] / "results" / "servers.json"
FIGURES = ["posts", "past", "edge", "twice", "wrong", "connections"]
TRIALS = ["pauses", "pauses, TLS", "limit", "reload", "cut"]
CLIENTS = ["stock", "patched", "handler", "xmlrpc stock", "xmlrpc",
           "urllib3", "httpx", "pycurl"]
TITLES = {"pauses": "Pauses around the idle timeout",
          "pauses, TLS": "Pauses around the idle timeout, over TLS",
          "limit": "Seven requests for each connection",
          "reload": "Reloads under load",
          "cut": "Executed, and not answered"}
ABOUT = {
    "pauses": "POSTs that failed: past the close + at the edge.",
    "pauses, TLS": "POSTs that failed: past the close + at the edge.",
    "limit": "POSTs that failed: past the close + at the edge.",
    "reload": "POSTs that failed: past the close + at the edge.",
    "cut": "Of 20 POSTs, so many were executed twice.",
    "checks": """\
With the patched clients.""",
}
HEADING = """\
HTTP clients against real servers that end idle connections, by
`python3 interop/servers.py`, which says how it is done.

*stock* and *patched* are http.client, and *handler* is
PersistentConnectionHandler. *past*: the POST failed although the server's
close had arrived before it was sent. *edge*: the close and the POST crossed,
or a new connection was closed unanswered, which no client can prevent. A
client that then sends it again fails less, and has some POSTs executed twice:
stock xmlrpc.client and curl do so, and urllib3 through a proxy. *twice*: the
server executed it twice. *wrong*: another response than the one to the
request. The figures are the sums of all trials below. *cannot*:
[why](../servers/README.md#what-a-server-cannot-do); "–": not run.
"""


def figures(records, executed, mode):
    """Return the figures of one client with one server."""
    posts = [record for record in records
             if record.get("pause") is not None]
    failed = [record for record in posts if record["error"]]
    # A new connection that the server closes, and a cut that was asked for,
    # are not the client's doing.
    lost = [record for record in failed if record["state"] == "open"
            or record["fresh"] or mode == "cuts"]
    past = [record for record in failed if record not in lost]
    return {
        "posts": len(posts), "past": len(past), "edge": len(lost),
        "twice": sum(count > 1 for count in executed.values()),
        "wrong": sum(bool(record["wrong"]) for record in posts),
        "connections": records[-1]["connections"],
        "examples": sorted({record["wrong"] for record in posts
                            if record["wrong"]})[:2]
        + sorted(set(map(explain, past)))[:2]
        + sorted(set(map(explain, lost)))[:2]}


def explain(record):
    new = ", on a new connection" if record["fresh"] else ""
    return f"{record['error']} ({record['state']} before{new})"


def line(told):
    text = ", ".join(f"{told[name]:,} {name}" for name in FIGURES)
    return "; ".join([text, *told["examples"][:1]])


def by_check(records):
    return {f"{record['check']}, {record['with']}": record["told"]
            for record in records if "check" in record}


def problems(result, clients):
    """Return what must not be, as lines."""
    found = [f"{part}, {client}: no POST arrived" for part in TRIALS[:4]
             for client, told in result.get(part, {}).items()
             if client in CLIENTS
             and told["posts"] == told["past"] + told["edge"]]
    for part in TRIALS:
        for client in clients:
            told = result.get(part, {}).get(client, {})
            found += [f"{part}, {client}: {told[name]} {name}"
                      + "".join(f"; {text}" for text in told["examples"][:1])
                      for name in ("past", "twice", "wrong")
                      if told.get(name)]
    return found + [f"{name}: {told}" for name, told
                    in result.get("checks", {}).items() if told != "ok"]


def write(name, result):
    """Put a server's result into servers.json; make servers.md of it."""
    told = {}
    if RESULTS.is_file():
        told = json.loads(RESULTS.read_text(encoding="utf-8"))
    told[name] = {**told.get(name, {}), **result}
    if "skipped" not in result:
        told[name].pop("skipped", None)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    RESULTS.with_suffix(".md").write_text(markdown(told), encoding="utf-8")


def markdown(told):
    """Return the tables of all servers."""
    run = {name: result for name, result in told.items()
           if "skipped" not in result}
    lines = [HEADING, *table(["client", *FIGURES], totals(run))]
    for part in TRIALS:
        rows = [[result["title"], *cells(result, part)]
                for result in run.values()]
        if any(part in result for result in run.values()):
            lines += ["", f"## {TITLES[part]}", "", ABOUT[part], "",
                      *table(["server", *CLIENTS], rows)]
    lines += ["", "## Checks", "", ABOUT["checks"], "", *checks(run), "",
              "## Versions, and when idle connections are closed", "",
              *(f"- {about(result)}" for result in told.values())]
    return "\n".join(lines) + "\n"


def table(head, rows):
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return [f"| {' | '.join(map(str, row))} |" for row in lines]


def totals(run):
    rows = []
    for client in CLIENTS:
        told = [result[part][client] for result in run.values()
                for part in TRIALS[:4]
                if client in result.get(part, {})]
        twice = sum(result["cut"][client]["twice"] for result in run.values()
                    if client in result.get("cut", {}))
        rows.append([client, *(
            f"{sum(one[name] for one in told) + twice * (name == 'twice'):,}"
            for name in FIGURES)])
    return rows


def cells(result, name):
    """Return a cell for each client: what failed, or was done twice."""
    for client in CLIENTS:
        one = result.get(name, {}).get(client)
        if one is None:
            yield absent(result, name)
        elif name == "cut":
            yield one["twice"]
        elif one["past"] or one["edge"]:
            yield f"{one['past']}+{one['edge']}"
        else:
            yield "0"


def absent(result, name):
    return "cannot" if name in result.get("cannot", ()) else "–"


def checks(run):
    found = {name: {} for name in run}
    for name, result in run.items():
        for check, told in result.get("checks", {}).items():
            what = check.rpartition(", ")[0]
            if found[name].get(what) != "FAILED":
                found[name][what] = "ok" if told == "ok" else "FAILED"
    names = [name for name in run if found[name]]
    every = dict.fromkeys(what for name in names for what in found[name])
    return table(["check", *names],
                 [[what, *(found[name].get(what, absent(run[name], what))
                          for name in names)] for what in every])


def about(result):
    if "skipped" in result:
        return f"{result['title']}, skipped: {result['skipped']}"
    closes = [f"{result[part]['closes'][0]:.2f} to "
              f"{result[part]['closes'][1]:.2f} s{name}"
              for part, name in (("pauses", ""), ("pauses, TLS", " over TLS"))
              if part in result]
    return ": ".join([f"{result['title']} {result['version']}",
                      *([", ".join(closes)] if closes else [])])
