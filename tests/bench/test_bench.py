"""./series bench: that it measures what it says; no time is asserted."""

import contextlib
import http
import http.client
import json
import os
import re
import shutil
import sys

import pytest

from tools import bench, bench_measures as measures, bench_peers
from tools import bench_report as report, cli, demo, pip
from tools.bench_lab import PROGRAMS, Lab
from tools.common import LINES, Failure, build_dir, cache_dir

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"),
                                reason="the benchmarks need Linux")

BUILT = [line for line in LINES
         if (build_dir() / line / "patched.json").is_file()]
THIS = {"stock": sys.executable, "patched": sys.executable}
TINY = measures.QUICK._replace(
    peers=measures.Plan(1, 1, 1, 5), ahead=measures.Plan(1, 1, 1, 1),
    calls=measures.Plan(1, 1, 1, 2))


@pytest.fixture
def lab():
    with Lab() as lab:
        yield lab


# All of it.

@pytest.mark.skipif(not BUILT, reason="not at hand: ./series build gets one")
def test_quick(tmp_path, capsys):
    line = BUILT[-1]
    assert cli.main(["bench", line, "--quick", "--tries", "3",
                     "--without-peers", "--output", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 79
    assert sorted(os.listdir(tmp_path)) == [f"{line}.json", f"{line}.md"]
    results = json.loads((tmp_path / f"{line}.json").read_text("utf-8"))
    assert report.plain(results) == printed
    assert (tmp_path / f"{line}.md").read_text(
        "utf-8") == report.markdown(results)
    see_shape(results)
    assert set(results["cost"]) == set(BUILT)
    # No path, no host name.
    text = json.dumps(results, ensure_ascii=False)
    assert not re.search(r'"/|\\|\.(local|internal)\b', text)
    assert os.uname().nodename not in text


def see_shape(results):
    for rows in results["cost"].values():
        more = see_rows(rows)
        assert (more["calls"], more["calls_if_new"]) == (1, 0)
    for kind in measures.CONNECTIONS:
        calls = results["system calls"][kind]
        assert sum(calls["patched"].values()) == 1 + sum(
            calls["stock"].values())
    for label, sides in results["reliability"].items():
        assert sides["stock"]["failed"] == sides["stock"]["tries"] == 3, label
        assert sides["patched"]["flawless"], label
        assert sides["patched"]["connections"] == 4, label
    kept = ["http.client, stock", "http.client, patched", measures.HANDLER]
    assert {way: list(clients) for way, clients in results["peers"].items()
            } == {"plain": [*kept, "urlopen(), stock"], "TLS 1.3": kept}
    assert results["xmlrpc"]["sendall"] == {"stock": 2, "patched": 1}
    for way, trips in (("plain", 1), ("TLS 1.3", 2)):
        see_far(results["redirects"][way]["wall"], trips)
    assert set(results["pipelining"]) == {"version", "pipelined",
                                          "one at a time"}
    assert results["not run"] == dict.fromkeys(
        [*bench_peers.PEERS, bench_peers.PIPELINING], "--without-peers")


def see_far(wall, trips):
    """Check the times of 3 redirects: as many round trips as there are."""
    for side, connections in (("stock", 4), ("patched", 1)):
        assert wall[side]["best"] >= (4 + trips * connections) * 20_000


def see_rows(rows):
    """Check the rows of bench/cost.py; return {name: difference}."""
    names = [row["name"] for row in rows]
    assert names == ["GET", "tiny", "POST", "chunk", "reads", "length",
                     "chunks", "fp", "calls", "calls_if_new", "memory",
                     "import"]
    assert all(len(row["words"]) == 5 for row in rows)
    for row in rows[:8]:
        assert row["stock"] > 0 < row["patched"], row
        assert 0 < row["low"] <= row["high"], row
    return {row["name"]: row["more"] for row in rows[8:]}


def test_no_results_of_a_quick_run(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(bench, "RESULTS", tmp_path)
    monkeypatch.setattr(bench, "measure", lambda *args, **kwargs: RESULTS)
    assert cli.main(["bench", "--quick", "--without-peers"]) == 0
    assert not os.listdir(tmp_path)
    assert cli.main(["bench", "--without-peers"]) == 0
    assert sorted(os.listdir(tmp_path)) == ["3.15.json", "3.15.md"]


@pytest.mark.parametrize("tries", [0, demo.MAX_COUNT + 1])
def test_tries(tries, capsys):
    assert cli.main(["bench", "--tries", str(tries)]) == 1
    assert "give a number from 1 to 1000" in capsys.readouterr().err


# The programs and their server.

def test_cost(lab):
    more = see_rows(measures.cost(lab, THIS, "this", TINY))
    assert more["calls"] == more["calls_if_new"] == 0


@pytest.mark.parametrize("wrong, said", [
    ("self.length -= 1", "GET, 8 fields: not the body that was sent"),
    ("self.will_close = True", "NotConnected"),
])
def test_a_wrong_library_is_seen(lab, tmp_path, wrong, said):
    shutil.copytree(http.__path__[0], tmp_path / "http")
    with open(tmp_path / "http" / "client.py", "a") as file:
        file.write("begin = HTTPResponse.begin\n"
                   "def other(self):\n"
                   "    begin(self)\n"
                   f"    {wrong}\n"
                   "HTTPResponse.begin = other\n")
    child = lab.start(sys.executable, "cost.py", tmp_path, tmp_path,
                      "--quick", "--json")
    with pytest.raises(Failure, match=f"bench/cost.py .*{said}"):
        child.answer()


def test_interpreters_take_turns():
    told = []

    class Child:
        def __init__(self, name):
            self.name = name

        def ask(self, **command):
            told.append(self.name)
            return {"cpu": len(told), "wall": 100 - len(told)}
    children = {"stock": Child("stock"), "patched": Child("patched")}
    taken = {name: {"cpu": [], "wall": []} for name in children}
    measures._sample(children, "GET", measures.Plan(1, 1, 2, 1), taken)
    assert told == ["stock", "patched", "patched", "stock"]
    assert taken == {"stock": {"cpu": [1e6], "wall": [96e6]},
                     "patched": {"cpu": [2e6], "wall": [97e6]}}


@pytest.mark.parametrize("wrong, said", [
    ("self.status = 201", "201, 13 bytes"),
    ("self.length -= 1", "200, 12 bytes"),
    ("self._close_conn(); self.length = 0", "200, 0 bytes"),
])
def test_a_wrong_response_is_seen(lab, tmp_path, wrong, said):
    (tmp_path / "other.py").write_text(
        "import http.client, sys\n"
        "begin = http.client.HTTPResponse.begin\n"
        "def other(self):\n"
        "    begin(self)\n"
        f"    {wrong}\n"
        "http.client.HTTPResponse.begin = other\n"
        f"sys.path.insert(0, {str(PROGRAMS)!r})\n"
        "import clients\n"
        "clients.main(sys.argv[1])\n")
    child = lab.start(
        sys.executable, tmp_path / "other.py",
        json.dumps({"client": "http.client", **lab.address()}))
    with pytest.raises(Failure, match="bench/other.py did not end well with "
                                      f".*: GET: {said}"):
        child.ask(measure="timed", case="GET", count=1)


def test_a_wrong_request_is_refused(lab):
    address = lab.address()
    conn = http.client.HTTPConnection(address["host"], address["port"])
    with contextlib.closing(conn):
        for method, target, body in (("POST", "/RPC2", b"other"),
                                     ("POST", "/small", b""),
                                     ("GET", "/small", b"x" * 100),
                                     ("GET", "/other", None)):
            conn.request(method, target, body)
            with conn.getresponse() as response:
                assert (response.status, response.read()) == (400, b"")


def test_calls(lab):
    for port in ("plain", "xmlrpc"):
        with lab.clients({"calls": (sys.executable, {
                "client": "xmlrpc", "port": port})}) as children:
            children["calls"].ask(measure="timed", case="call", count=3)


def test_records(lab):
    wanted = {"records": (sys.executable, {"client": "logging",
                                           "connections": 1})}
    with lab.clients(wanted) as children:
        children["records"].ask(measure="timed", case="record", count=3)
    assert lab.count("logged") == 3


@pytest.mark.parametrize("port, trips", [("plain", 0), ("tls", 0),
                                         ("far", 2), ("far_tls", 3)])
def test_redirects(lab, port, trips):
    wanted = {"urlopen": (sys.executable, {
        "client": "urlopen", "port": port, "timeout": 30,
        "connections": 4})}
    with lab.clients(wanted) as children:
        told = children["urlopen"].ask(measure="timed", case="redirects",
                                       count=2)
    assert told["wall"] >= 4 * trips * 0.02


@pytest.mark.skipif(not BUILT, reason="not at hand: ./series build gets one")
@pytest.mark.parametrize("way", measures.WAYS)
def test_other_clients(lab, way):
    line = BUILT[-1]
    cache = cache_dir() / "bench" / f"cp{line.replace('.', '')}"
    names = [name for name in bench_peers.PEERS if (cache / name).exists()]
    if not names:
        pytest.skip("not at hand: ./series bench gets them")
    python = bench._interpreters(line)[1]["patched"]
    found, _ = bench_peers.find(python, tuple(map(int, line.split("."))),
                                names)
    with lab.clients({name: (python, {
            "client": name, "packages": str(folder), "timeout": 30,
            **measures.WAYS[way]})
            for name, (_, folder) in found.items()}) as children:
        for child in children.values():
            for _ in range(2):
                child.ask(measure="timed", case="GET", count=2)


def test_a_second_connection_is_seen(lab):
    wanted = {"one": (sys.executable, {}), "two": (sys.executable, {})}
    with pytest.raises(Failure, match="2 clients used 1 connections instead "
                                      "of 2: one, two"):
        with lab.clients(wanted) as children:
            children["one"].ask(measure="timed", case="GET", count=2)


def test_system_calls_without_strace(lab, monkeypatch):
    monkeypatch.setattr(measures, "_working_strace", lambda: None)
    counted = measures.system_calls(lab, THIS)
    assert counted["counted with"] == "sys.setprofile"
    for kind in measures.CONNECTIONS:
        calls = counted[kind]["stock"]
        assert calls == counted[kind]["patched"]
        assert sum(calls.values()) in (2, 3), kind


def test_a_program_that_crashes(lab):
    with pytest.raises(Failure, match="^bench/clients.py did not end well "
                                      "with .*: .*'nothing'$"):
        lab.once(sys.executable, "clients.py", client="nothing")


# Other clients.

@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setattr(bench_peers, "cache_dir", lambda: tmp_path)
    return tmp_path / "bench" / "cp315"


def write_package(folder, name):
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").touch()
    about = folder / f"{name}-7.0.dist-info" / "METADATA"
    about.parent.mkdir()
    about.write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 7.0\n")


def test_packages(cache, monkeypatch):
    calls = []

    def install_into(folders, python, version):
        calls.append(set(folders))
        for name in set(folders) - {"pycurl"}:
            write_package(folders[name], name)
        folders["pycurl"].mkdir()
        return {"pycurl": "no wheel"}
    monkeypatch.setattr(pip, "install_into", install_into)
    names = ["urllib3", "pycurl"]
    for _ in range(2):
        found, missing = bench_peers.find(sys.executable, (3, 15), names)
        assert found == {"urllib3": ("7.0", cache / "urllib3")}
        assert missing == {"pycurl": "no wheel"}
    assert calls == [{"urllib3", "pycurl"}, {"pycurl"}]
    assert sorted(os.listdir(cache)) == ["lock", "urllib3"]


def test_no_pip(monkeypatch, tmp_path):
    monkeypatch.setattr(pip, "_fetched", lambda *args: None)
    monkeypatch.setattr(pip, "_bundled", lambda *args: None)
    missing = pip.install_into({"httpx": tmp_path}, sys.executable, (3, 15))
    assert missing == {"httpx": "no pip can be had; apt-get install "
                                "python3-pip may help"}


# Words.

def spread(value):
    return {"median": value, "low": value, "high": value, "best": value}


def both(stock, patched):
    return {"stock": spread(stock), "patched": spread(patched),
            "more": spread(patched - stock), "ratio": spread(patched / stock)}


def make_results(*, calls=3, memory=0, flawless=True, sendall=1):
    sides = {"failed": 0, "twice": 0, "connections": 4, "tries": 3,
             "flawless": True, "reasons": []}
    return {
        "line": "3.15", "version": "3.15.2", "patches": 5,
        "machine": {"cpu": "A CPU", "cores": 2, "system": "Linux x86_64"},
        "cost": {"3.15": [
            {"name": "GET", "ratio": 0.5, "aim": 0.7,
             "words": ["a GET", "2.0 µs", "1.0 µs", "0.50 (0.49–0.51)",
                       "0.70"]},
            {"name": "memory", "label": "idle connection", "more": memory,
             "aim": 0, "words": ["idle connection", "9 B", "9 B", "+0 B",
                                 "+0 B"]}]},
        "system calls": {"counted with": "strace", **{
            kind: {"stock": {"read": 2}, "patched": {"read": calls}}
            for kind in measures.CONNECTIONS}},
        "peers": {way: {"http.client, stock": peer(None, 60, 125, 1.25),
                        "http.client, patched": peer(None, 30, 100, 1),
                        measures.HANDLER: peer(None, 66, 120, 1.2),
                        "urllib3": peer("2.0", 90, 180, 1.8),
                        "httpx": peer("7.0", 99, 200, 2)}
                  for way in measures.WAYS},
        "pipelining": {"version": "3.8.2", **{
            name: {clock: {"time": spread(time), "ratio": spread(25 / time)}
                   for clock in ("cpu", "wall")}
            for name, time in (("pipelined", 25), ("one at a time", 50),
                               ("dugong", 99))}},
        "xmlrpc": {"sendall": {"stock": 2, "patched": sendall}, **{
            name: {"cpu": both(90, 80), "wall": both(100, 110)}
            for name in ("raw peer", "xmlrpc.server")}},
        "redirects": {"plain": {"wall": both(160_000, 104_800)},
                      "TLS 1.3": {"wall": both(240_000, 120_000)}},
        "reliability": {"FIN": {"stock": sides, "patched": {
            **sides, "flawless": flawless, "twice": int(not flawless)}}},
        "not run": {"pycurl": "no wheel"}}


def peer(version, cpu, wall, ratio):
    return {"version": version, **{
        clock: {"time": spread(time), "ratio": spread(ratio),
                "handler": spread(66 / time)}
        for clock, time in (("cpu", cpu), ("wall", wall))}}


RESULTS = make_results()


def test_words():
    text = report.plain(RESULTS)
    for line in [r"http\.client 3\.15 alone +stock +patched +ratio, more",
                 r"idle connection +9 B +9 B +\+0 B +\+0 B$",
                 r"system calls of a GET, plain  +2  +3  +1  +1$",
                 r"GET: http\.client +125\.0 µs +100\.0 µs +1\.25 .* 1\.15$",
                 r"httpx 7\.0  +5000  +0\.50  +99\.0 µs  +2\.00 ",
                 r"a GET +2\.0 µs +1\.0 µs +0\.50 \(0\.49–0\.51\) +0\.70$",
                 r"one at a time, wall clock +50\.0 .* 25\.0 µs +2\.00 .* -$",
                 r"dugong 3\.8\.2, CPU +99\.0 .* 25\.0 .* 3\.96 .* 4 UNDER$",
                 r"XML-RPC, raw peer +100.0 µs +110.0 µs +0\.91 .* 1 UNDER$",
                 r"http\.client, patched, plain +30\.0 µs +66\.0 µs  2\.20 "
                 r"\(2\.20–2\.20\) +2\.20$",
                 r"http\.client, patched, TLS 1\.3 .* 1\.40 OVER$",
                 r"urllib3 2\.0, plain +90\.0 µs .* 0\.73 .* 0\.50 OVER$",
                 r"urllib3 2\.0, TLS 1\.3 +90\.0 µs .* 0\.73 .* -$",
                 r"XML-RPC, raw peer, CPU +90\.0 µs .* 0\.89 .* 1\.00$",
                 r"3 redirects at 20 ms, plain +160\.0 ms .* 0\.66 \(.*"
                 r"\) +0\.65 OVER$",
                 r"3 redirects at 20 ms, TLS 1\.3 .* 0\.50 .* 0\.53$",
                 r"sendall\(\) of an XML-RPC call +2 +1 +-1 +1$",
                 r"System calls were counted with strace\.$",
                 r"pycurl: NOT RUN: no wheel$"]:
        assert re.search(f"^{line}", text, re.M), line
    rows = [line.count("|") for line
            in report.markdown(RESULTS).splitlines() if "|" in line]
    assert set(rows) == {6, 8, 7}


@pytest.mark.parametrize("wrong, said", [
    ({}, None),
    ({"calls": 4}, "a GET, plain, costs 2 more system calls"),
    ({"memory": 64}, "idle connection of 3.15: +64, not at most +0"),
    ({"sendall": 2}, "an XML-RPC call takes 2 sendall()"),
    ({"flawless": False}, "POSTs by patched after FIN: not each once"),
])
def test_broken_promises(wrong, said, monkeypatch, capsys):
    monkeypatch.setattr(bench, "measure",
                        lambda *args, **kwargs: make_results(**wrong))
    assert cli.main(["bench", "--quick"]) == (said is not None)
    told = capsys.readouterr().err
    assert f"a promise is broken: {said}" in told if said else not told
