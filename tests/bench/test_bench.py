"""./series bench: that it measures what it says; no time is asserted."""

import contextlib
import functools
import http.client
import json
import operator
import os
import shutil
import socket
import sys
import time
from unittest import mock

import pytest

from bench import bench, lab as labs, parts, peers, report
from bench.lab import PROGRAMS, Client, laboratory
from faketree import write
from tools import cli, pip
from tools.common import LINES, Failure, build_dir, cache_dir

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"),
                                reason="the benchmarks need Linux")
BUILT = [line for line in LINES
         if (build_dir() / line / "patched").is_dir()]
CACHE = cache_dir() / "bench" / f"cp{''.join(BUILT[-1:]).replace('.', '')}"
ME = Client(sys.executable, "http_client")


@pytest.fixture
def lab():
    with laboratory(sys.executable) as lab:
        yield lab


# All of it.

@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of the results of a quick run without other clients."""
    if not BUILT:
        pytest.skip("not at hand: ./series build gets one")
    folder = tmp_path_factory.mktemp("results")
    with mock.patch.object(peers, "find",
                           return_value=({}, {"httpx": "no net"})):
        assert cli.main(["bench", BUILT[-1], "--quick", "--rounds", "1",
                         "--output", str(folder)]) == 0
    return folder


@pytest.fixture
def results(folder):
    return json.loads((folder / f"{BUILT[-1]}.json").read_text("utf-8"))


def test_quick(folder, results):
    assert list(results["parts"]) == list(parts.PARTS)
    text = report.markdown(results)
    assert (folder / f"{BUILT[-1]}.md").read_text("utf-8") == text
    assert max(map(len, text.splitlines())) <= 100
    assert "httpx was NOT RUN: no net" in text
    said = json.dumps(results, ensure_ascii=False)
    assert '"/' not in said and os.uname().nodename not in said


def test_what_is_measured(results):
    measured = {name: part["measured"]
                for name, part in results["parts"].items()}
    assert all(row["stock"] > 0 < row["patched"]
               for row in measured["cost"]["rows"].values())
    for way in labs.WAYS:
        assert len(measured["peers"][way]) == 7
        assert set(measured["worth"][way]) == {"0", "10"}
        far = measured["worth"][way]["10"]
        trips = 1 if way == "plain" else 2      # to connect
        for name, least in (("urlopen(), stock", 1 + trips),
                            ("handler, patched", 1),
                            ("3 redirects, stock", 4 + 4 * trips),
                            ("3 redirects, patched", 4 + trips),
                            ("3 redirects, handler", 4),
                            ("pipelining, depth 50", 1 / 50)):
            assert min(far[name]["wall"]) >= least * 10_000, name
    assert all(sides["stock"]["failed"] == sides["stock"]["tries"]
               for sides in measured["posts"].values())


@pytest.mark.parametrize("path, value, said", [
    (["cost", "rows", "system calls, kept", "patched"], 4,
     "more than stock: system calls, kept: 2, not at most 1"),
    (["growth", "idle", "100", "http.client, patched", "memory"], [9e9],
     "more bytes of an idle connection of http.client: "),
    (["posts", "FIN", "patched", "flawless"], False,
     "kinds of idle close that lose or repeat a POST: 1")])
def test_a_goal_that_is_missed(results, monkeypatch, capsys, path, value,
                               said):
    part, *path, last = path
    functools.reduce(operator.getitem, path,
                     results["parts"][part]["measured"])[last] = value
    monkeypatch.setattr(bench, "circumstances",
                        lambda *args: {**results, "parts": {}})
    monkeypatch.setattr(bench, "measure",
                        lambda name, *args: results["parts"][name])
    assert cli.main(["bench", BUILT[-1], "--quick"]) == 1
    printed, told = capsys.readouterr()
    assert f"missed: {said}" in told
    assert printed == report.markdown(results)


def test_a_part_is_replaced(folder, results, tmp_path):
    shutil.copy(folder / f"{BUILT[-1]}.json", tmp_path)
    part = {**results["parts"]["posts"], "rounds": 7}
    bench.write({**results, "parts": {"posts": part}}, tmp_path)
    file = tmp_path / f"{BUILT[-1]}.json"
    assert json.loads(file.read_text("utf-8")) == {
        **results, "parts": {**results["parts"], "posts": part}}
    # Of another version, none is kept.
    other = {**results, "version": "4.0", "parts": {"posts": part}}
    bench.write(other, tmp_path)
    assert json.loads(file.read_text("utf-8")) == other


def test_plots(folder, results):
    if not (CACHE / "matplotlib").exists():
        pytest.skip("not at hand: ./series bench gets it")
    bench.draw(results, folder, bench.interpreters(BUILT[-1])[1]["patched"])
    assert len(list(folder.glob(f"{BUILT[-1]}*.svg"))) == 3


def test_rounds(capsys):
    assert cli.main(["bench", "--rounds", "0"]) == 1
    assert "give 1 or more" in capsys.readouterr().err


# The programs and their server.

WRONG = """\
import http.client, runpy, sys
begin = http.client.HTTPResponse.begin
def other(self):
    begin(self)
    {}
http.client.HTTPResponse.begin = other
sys.argv.pop(0)
sys.path.insert(0, {!r})
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize("program, wrong, said", [
    ("cost.py", "self.length -= 1", "a body was not the one that was sent"),
    ("cost.py", "self.will_close = True", ".*NotConnected"),
    ("clients.py", "self.status = 201", "a response was 201 with 13 bytes"),
    ("clients.py", "self.length -= 1", "a response was 200 with 12 bytes")])
def test_a_wrong_response_is_seen(lab, tmp_path, program, wrong, said):
    (tmp_path / "other.py").write_text(WRONG.format(wrong, str(PROGRAMS)))
    question = ({"method": "cost", "label": "GET, 8 fields"}
                if program == "cost.py" else {})
    with (pytest.raises(Failure, match=f"other.py has failed: {said}"),
          lab.start(sys.executable, tmp_path / "other.py", PROGRAMS / program,
                    json.dumps({"client": "http_client", "host": labs.HOST,
                                "port": lab.ports["plain"]["0"],
                                "cafile": None})) as child):
        child.ask(count=2, **question)


def test_a_wrong_request_is_refused(lab):
    conn = http.client.HTTPConnection(labs.HOST, lab.ports["plain"]["0"])
    with contextlib.closing(conn):
        for method, target, body in (("POST", "/RPC2", b"other"),
                                     ("POST", "/small", b""),
                                     ("GET", "/small", b"x" * 100),
                                     ("GET", "/other", None)):
            conn.request(method, target, body)
            with conn.getresponse() as response:
                assert (response.status, response.read()) == (400, b"")


def test_the_number_of_connections_is_seen(lab):
    with (pytest.raises(Failure, match="^one, two: 1 connections were used "
                                       "instead of 2; "),
          lab.counted({"one": ME, "two": ME}) as children):
        children["one"].ask(count=2)


def test_requests_sent_ahead_share_a_round_trip(lab):
    with socket.create_connection(
            (labs.HOST, lab.ports["plain"]["50"])) as sock:
        start = time.monotonic()
        sock.sendall(b"GET /1-fields HTTP/1.1\r\n\r\n" * 40)
        received = b""
        while received.count(b"Hello, world!") < 40:
            received += sock.recv(65536)
        assert 0.1 <= time.monotonic() - start < 40 * 0.05


@pytest.mark.parametrize("way", labs.WAYS)
@pytest.mark.parametrize("client", [
    ME, ME._replace(name="raw"), ME._replace(name="xmlrpc"),
    ME._replace(name="urlopen", target="/3-hops", connections=4)])
def test_clients(lab, way, client):
    taken = lab.take_turns({"one": client}, way, rounds=2, seconds=0.001)
    assert [len(taken["one"][clock]) for clock in ("cpu", "wall")] == [2, 2]


@pytest.mark.parametrize("way", labs.WAYS)
def test_other_clients(lab, way):
    names = [name for name in peers.PEERS if (CACHE / name).exists()]
    if not names or not BUILT:
        pytest.skip("not at hand: ./series bench gets them")
    python = bench.interpreters(BUILT[-1])[1]["patched"]
    found, _ = peers.find(python, BUILT[-1], names)
    lab.take_turns({name: Client(python, name, {"packages": str(folder)})
                    for name, (_, folder) in found.items()}, way, rounds=1,
                   seconds=0.001)


def test_others_are_noticed(monkeypatch):
    now = iter([0, 0.5, 10, 20])
    monkeypatch.setattr(labs, "_all_cpu", iter([0, 5, 6, 9]).__next__)
    monkeypatch.setattr(labs, "_cpu_of", lambda pid: 0)
    monkeypatch.setattr(labs.time, "monotonic", lambda: next(now))
    watch = labs.Watch()
    for _ in range(4):      # the second is too early
        watch.look()
    assert watch.worst == 0.6


def test_packages(monkeypatch, tmp_path):
    def install_into(folders, python, version):
        write(folders["urllib3"], "urllib3/__init__.py", "")
        write(folders["urllib3"], "urllib3-7.0.dist-info/METADATA",
              "Name: urllib3\nVersion: 7.0\n")
        return {"pycurl": "no wheel"}

    monkeypatch.setattr(peers, "cache_dir", lambda: tmp_path)
    monkeypatch.setattr(pip, "install_into", install_into)
    cache = tmp_path / "bench" / "cp315"
    assert peers.find(sys.executable, "3.15", ["urllib3", "pycurl"]) == (
        {"urllib3": ("7.0", cache / "urllib3")}, {"pycurl": "no wheel"})
    assert os.listdir(cache) == ["urllib3"]
