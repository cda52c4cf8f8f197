"""The private apt: where it looks, what it fetches, what can be wrong."""

import pytest

import fakearchive
from fakeapt import URI
from tools.common import Failure, cache_dir
from tools.cpython import download
from tools.cpython.download import Suite, Unavailable

OFFLINE = (f"W: Failed to fetch {URI}dists/sid/InRelease  Temporary failure "
           f"resolving 'debian.example'")
UNSIGNED = f"E: The repository '{URI} sid InRelease' is not signed."
OLDEST = (1,)


@pytest.fixture
def fake(tmp_path, monkeypatch):
    return fakearchive.enter(tmp_path, monkeypatch)


@pytest.fixture
def sid(fake):
    """A suite that has been read, with one package."""
    fake.add("sid", "thing", "1.0-1", {"./usr/bin/thing": "good\n"})
    suite = Suite("sid", "deb")
    suite.update()
    return suite


def fetch(suite):
    return suite.fetch(cache_dir() / "packages" / "thing", "thing=1.0-1")


def test_archive_that_the_machine_knows(fake):
    other = "http://a.example/ubuntu/|noble"
    fake.change(targets=[other, f"{URI}-security/|sid-security",
                         "cdrom:[Debian]/|sid", f"{URI}|bookworm"])
    assert download.archive_uri() == URI
    fake.change(targets=[other])
    with pytest.raises(Unavailable, match="without Debian's archive"):
        download.archive_uri()


def test_newest_version_of_the_first_suite(fake):
    fake.add("sid", "thing", "3.13.2-1", {"./x": ""})
    fake.add("sid", "thing", "3.13.8-1", {"./x": ""})
    fake.add("forky", "thing", "3.13.9-1", {"./x": ""})
    for _ in range(2):
        suite, version = download.newest("thing", OLDEST)
        assert (str(suite), version) == ("Debian sid", "3.13.8-1")
    # The others' indexes are not read, and this one is once.
    assert fake.logged() == ["update sid deb"]


@pytest.mark.parametrize("problem", [
    UNSIGNED, "E: Release file for x is expired (invalid since 14d)."])
def test_bad_suite_is_named_and_the_next_taken(fake, capsys, problem):
    fake.add("sid", "thing", "2-1", {"./x": "x"})
    fake.add("forky", "thing", "1-1", {"./x": "x"})
    fake.suite("sid")["problem"] = problem
    fake.save()
    for _ in range(2):
        suite, version = download.newest("thing", OLDEST)
        assert (suite.name, version) == ("forky", "1-1")
    assert capsys.readouterr().err.count(
        f"Debian sid: {problem[len('E: '):]}") == 1


@pytest.mark.parametrize("offline, version, why", [
    ("", None, "Debian sid: The repository does not have a Release file."),
    (OFFLINE, None, "Debian sid: Failed to fetch .* Temporary"),
    ("", "0.9-1", "0.9-1 is older than the series needs")])
def test_nothing_is_usable(fake, offline, version, why):
    fake.change(offline=offline)
    if version:
        fake.add("trixie", "thing", version, {"./x": ""})
    with pytest.raises(Unavailable, match=why):
        download.newest("thing", OLDEST)


def test_offline_with_an_earlier_index(fake, sid, capsys):
    fetch(sid)
    fake.change(offline=OFFLINE)
    again = Suite("sid", "deb")
    again.update()
    assert "Temporary failure resolving" in capsys.readouterr().err
    assert fetch(again)[0].exists()


def test_download_is_kept_and_older_ones_go(fake, sid):
    for _ in range(2):
        path, = fetch(sid)
        (path.parent / "thing_0.9-1_amd64.deb").touch()
    fetch(sid)
    assert [one.name for one in path.parent.iterdir() if one.is_file()] == [
        "thing_1.0-1_amd64.deb"]
    assert fake.logged().count(f"get {path.name}") == 1


def test_damaged_download_is_fetched_again(fake, sid, tmp_path):
    path, = fetch(sid)
    good = path.read_bytes()
    for content in b"not a package", b"not a tar file":
        path.write_bytes(content)
        with pytest.raises(Failure, match="thing_1.0-1_amd64.deb could not "
                           "be unpacked: .*; run the command again") as told:
            download.unpack([path], tmp_path)
        assert "\n" not in str(told.value)
        assert fetch(sid)[0].read_bytes() == good


def test_no_home(fake, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME", raising=False)
    with pytest.raises(Failure, match="neither XDG_CACHE_HOME nor HOME"):
        download.using_cache()


def test_unpack(fake, tmp_path):
    fake.add("sid", "thing", "1-1", {
        "./usr/bin/thing": "good", "./usr/share/doc/thing/x": "unread",
        "./lib/y": "merged"})
    root = tmp_path / "root"
    (root / "usr" / "lib").mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")
    download.unpack([fake.pool / "thing_1-1_amd64.deb"], root)
    assert (root / "usr" / "bin" / "thing").read_text() == "good"
    assert not (root / "usr" / "share").exists()
    assert (root / "usr" / "lib" / "y").read_text() == "merged"
    assert (root / "lib").is_symlink()


@pytest.mark.parametrize("version, numbers", [
    ("3.15.2-1", (3, 15, 2)), ("1:3.13.18+dfsg-2", (3, 13, 18)),
    ("3.15.0~rc1-1", (3, 15, 0)), ("odd", ())])
def test_upstream(version, numbers):
    assert download.upstream(version) == numbers
