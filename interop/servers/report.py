"""What interop/servers.py makes of what the clients have told."""

import json
import pathlib

RESULTS = pathlib.Path(__file__).parents[1] / "results" / "servers.json"
FIGURES = ["posts", "past", "edge", "twice", "wrong", "connections"]
TRIALS = ["pauses", "pauses, TLS", "limit", "reload", "cut"]


def figures(records, executed, mode):
    """Return the figures of one client with one server."""
    posts = [record for record in records
             if record.get("pause") is not None]
    failed = [record for record in posts if record["error"]]
    # A new connection that a reloading server closes, and a cut that was
    # asked for, are not the client's doing.
    lost = [record for record in failed
            if record["state"] == "open" and not record["fresh"]
            or mode == "cuts"
            or mode == "load" and record["fresh"]]
    past = [record for record in failed if record not in lost]
    return {
        "posts": len(posts), "past": len(past), "edge": len(lost),
        "twice": sum(count > 1 for count in executed.values()),
        "wrong": sum(bool(record["wrong"]) for record in posts),
        "connections": records[-1]["connections"],
        "examples": sorted({record["error"] for record in past}
                           | {record["wrong"] for record in posts
                              if record["wrong"]})[:3]}


def line(told):
    text = ", ".join(f"{told[name]:,} {name}" for name in FIGURES)
    return "; ".join([text, *told["examples"][:1]])


def by_check(records):
    return {f"{record['check']}, {record['with']}": record["told"]
            for record in records if "check" in record}


def problems(result, clients):
    """Return what must not be, as lines."""
    found = []
    for part in TRIALS:
        for client in clients:
            told = result.get(part, {}).get(client, {})
            found += [f"{part}, {client}: {told[name]} {name}"
                      + "".join(f"; {text}" for text in told["examples"][:1])
                      for name in ("past", "twice", "wrong")
                      if told.get(name)]
    return found + [f"{name}: {told}" for name, told
                    in result.get("checks", {}).items() if told != "ok"]


def write(name, result, shown_only):
    """Put a server's result into servers.json; make servers.md of it."""
    told = {}
    if RESULTS.is_file() and not shown_only:
        told = json.loads(RESULTS.read_text(encoding="utf-8"))
    told[name] = result
    if shown_only:
        print(json.dumps(result, indent=1))
        return
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
