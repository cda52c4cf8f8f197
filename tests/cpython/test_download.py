"""The private apt: where it looks, what it fetches, what can be wrong."""

import os

import pytest

import fakearchive
from fakeapt import URI
from tools.common import Failure, cache_dir
from tools.cpython import download as archive
from tools.cpython.download import Offline, Suite, Unavailable

OFFLINE = (f"E: Failed to fetch {URI}dists/sid/InRelease  Temporary failure "
           f"resolving 'debian.example'")
UNSIGNED = f"E: The repository '{URI} sid InRelease' is not signed."
EXPIRED = (f"E: Release file for {URI}dists/sid/InRelease is expired "
           f"(invalid since 14d 0h 22min 1s). Updates will not be applied.")


@pytest.fixture
def fake(tmp_path, monkeypatch):
    return fakearchive.enter(tmp_path, monkeypatch)


@pytest.fixture
def sid(fake):
    """A suite that has been read, with one package."""
    fake.add("sid", "thing", "1.0-1", {"./usr/bin/thing": "good\n"})
    suite = Suite(URI, "sid", "deb")
    suite.update()
    return suite


def said(capsys):
    return capsys.readouterr().err


def test_uri_from_indexes(fake):
    fake.change(targets=[
        "http://other.example/|Other|Other",
        "http://debian.example/debian-security/|Debian|Debian-Security",
        "cdrom:[Debian]/|Debian|Debian", f"{URI}|Debian|Debian",
        f"{URI}|Debian|Debian"])
    assert archive.archive_uris() == [URI]


def test_uri_without_indexes(fake):
    """A fresh container has sources, but no indexes."""
    plan = [f"'{URI}dists/bookworm/InRelease' x 0",
            "'http://a.example/ubuntu/dists/noble/InRelease' x 0",
            f"'{URI}-security/dists/bookworm-security/InRelease' x 0"]
    fake.change(targets=["$(REPO_URI)|$(ORIGIN)|$(LABEL)"], plan=plan)
    assert archive.archive_uris() == [URI]


def test_no_debian_archive(fake):
    fake.change(targets=["http://a.example/ubuntu/|Ubuntu|Ubuntu"])
    with pytest.raises(Unavailable, match="without Debian's archive"):
        archive.archive_uris()


def test_no_apt(fake):
    (fake.bin / "apt-get").unlink()
    with pytest.raises(Unavailable, match="there is no apt here"):
        list(archive.suites())


def test_keyrings_of_the_machines_sources(fake, tmp_path, monkeypatch):
    rings = [tmp_path / f"{name}.gpg" for name in "abc"]
    for ring in rings:
        ring.touch()
    (fake.sources / "debian.sources").write_text(
        f"Types: deb\nURIs: http://else.example/\nSigned-By: {rings[2]}\n\n"
        f"Types: deb\nURIs: {URI}\nSigned-By: {rings[0]}\n")
    (fake.sources / "more.list").write_text(
        f"# deb [signed-by={rings[2]}] {URI} sid main\n"
        f"deb [signed-by={rings[1]}] {URI} sid main\n")
    monkeypatch.setattr(archive, "KEYRINGS", ())
    assert archive.keyrings(URI) == (str(rings[0]), str(rings[1]))


def test_installed_keyring_comes_first(fake, tmp_path, monkeypatch):
    rings = tmp_path / "none.pgp", tmp_path / "debian.gpg"
    rings[1].touch()
    monkeypatch.setattr(archive, "KEYRINGS", tuple(map(str, rings)))
    assert archive.keyrings(URI) == (str(rings[1]),)


def test_newest_version_first(fake):
    for suite, versions in (("sid", ("3.9-1", "3.13.2-1", "3.13.18-1")),
                            ("forky", ("3.13.15-1",)),
                            ("trixie", ("3.13.5-2",))):
        for version in versions:
            fake.add(suite, "thing", version, {"./x": version})
    found = [(suite.name, version) for suite, version
             in archive.releases("thing")]
    assert found == [("sid", "3.13.18-1"), ("forky", "3.13.15-1"),
                     ("trixie", "3.13.5-2"), ("sid", "3.13.2-1"),
                     ("sid", "3.9-1")]


def test_older_suites_are_not_read_needlessly(fake):
    for suite in archive.SUITES:
        fake.add(suite, "thing", "1-1", {"./x": suite})
    next(archive.releases("thing"))
    next(archive.releases("thing"))
    assert [line.split()[1] for line in fake.logged()] == ["sid"]


@pytest.mark.parametrize("problem, text", [
    (UNSIGNED, "Debian sid is not signed by a key in "),
    ("W: GPG error: sid InRelease: NO_PUBKEY 0123", "is not signed by a key"),
    (EXPIRED, "is out of date (invalid since 14d 0h 22min 1s), which this"),
    ("E: The repository does not have a Release file.",
     "Debian sid: The repository does not have"),
])
def test_bad_suite_is_named_and_the_next_taken(fake, capsys, problem, text):
    fake.add("sid", "thing", "2-1", {"./x": "x"})
    fake.add("forky", "thing", "1-1", {"./x": "x"})
    fake.suite("sid")["problem"] = problem
    fake.save()
    for _ in range(2):
        found = [(suite.name, version) for suite, version
                 in archive.releases("thing")]
        assert found == [("forky", "1-1")]
    told = said(capsys)
    assert "Debian sid" in told and text in told
    assert told.count(text) == 1
    assert text in str(archive.problems()[0])


def test_no_suite_is_usable(fake, capsys):
    with pytest.raises(Unavailable, match="Debian sid: .*Release file"):
        list(archive.suites())
    assert len(fake.logged()) == len(archive.SUITES)


def test_offline_asks_once(fake):
    fake.add("forky", "thing", "1-1", {"./x": "x"})
    fake.change(offline=OFFLINE)
    with pytest.raises(Offline) as caught:
        list(archive.suites())
    assert str(caught.value) == ("Debian sid cannot be reached: Temporary "
                                 "failure resolving 'debian.example'")
    assert len(fake.logged()) == 1


def test_offline_with_an_earlier_index(fake, sid, capsys):
    sid.download(["thing=1.0-1"])
    fake.change(offline=OFFLINE)
    again = Suite(URI, "sid", "deb")
    again.update()
    assert "using the index of an earlier run" in said(capsys)
    assert again.download(["thing=1.0-1"])[0].exists()


def test_unsigned_is_refused_despite_an_earlier_index(fake, sid):
    fake.suite("sid")["problem"] = UNSIGNED
    fake.save()
    with pytest.raises(Unavailable, match="not signed"):
        Suite(URI, "sid", "deb").update()


def test_download_is_cached(fake, sid):
    for _ in range(2):
        path, = sid.download(["thing=1.0-1"])
    assert path.parent == cache_dir() / "packages"
    assert fake.logged().count(f"get {path.name}") == 1


@pytest.mark.parametrize("harm", [
    lambda path: path.write_bytes(b"X" * path.stat().st_size),
    lambda path: os.truncate(path, 100),
    lambda path: path.unlink(),
])
def test_harmed_cache_is_fetched_again(fake, sid, harm):
    path, = sid.download(["thing=1.0-1"])
    good = path.read_bytes()
    harm(path)
    assert sid.download(["thing=1.0-1"])[0].read_bytes() == good
    assert fake.logged().count(f"get {path.name}") == 2


def test_half_fetched_file_is_given_up(fake, sid):
    name = "thing_1.0-1_amd64.deb"
    partial = cache_dir() / "packages" / "partial" / name
    partial.write_text("half")
    fake.change(stuck=[name])
    assert sid.download(["thing=1.0-1"])[0].exists()
    assert not partial.exists()


def test_wrong_content_is_never_given(fake, sid):
    name = "thing_1.0-1_amd64.deb"
    fake.change(harmed=[name])
    with pytest.raises(Failure):
        sid.download(["thing=1.0-1"])
    with pytest.raises(Failure):
        sid.download(["thing=1.0-1"])


def test_gone_from_the_pool(fake, sid):
    name = "thing_1.0-1_amd64.deb"
    fake.change(gone=[name])
    with pytest.raises(Unavailable) as caught:
        sid.download(["thing=1.0-1"])
    assert str(caught.value) == (f"Debian sid lists {name} but no longer has "
                                 f"it")


def test_full_cache(fake, sid):
    fake.change(offline="E: Write error - write (28: No space left on "
                        "device)")
    with pytest.raises(Failure, match="the disk with .* is full; make room"
                       ) as caught:
        sid.download(["thing=1.0-1"])
    assert not isinstance(caught.value, Unavailable)


def test_prune(fake):
    """Of the line, what is older; of others and of libraries, nothing."""
    gone = ["python3.13_3.13.9-1_amd64.deb",
            "libpython3.13-stdlib_3.13.9-1_amd64.deb",
            "libpython3.13t64_3.13.9-1_amd64.deb",
            "python3.13-dbg_0%3a3.13.9-1_amd64.deb"]
    kept = ["python3.13_3.13.10-1_amd64.deb",
            "python3.13-dbg_3.13.10-1_amd64.deb",
            "libpython3.13-testsuite_3.13.18-1_all.deb",
            "python3.1_3.1.2-1_amd64.deb", "python3.130_3.1.2-1_amd64.deb",
            "python3.14_3.1.2-1_amd64.deb", "libc6_2.1-1_amd64.deb",
            "python3.13_3.13.9.orig.tar.xz.part", "lock"]
    suite = Suite(URI, "sid", "deb")
    (suite.store / "partial").mkdir(parents=True)
    for name in gone + kept:
        (suite.store / name).touch()
        (suite.store / "partial" / name).touch()
    suite.prune("python3.13", "3.13.10-1")
    for folder in suite.store, suite.store / "partial":
        assert {path.name for path in folder.iterdir()
                if path.is_file()} == set(kept)


def test_prune_sources(fake):
    suite = Suite(URI, "sid", "deb-src")
    (suite.store / "partial").mkdir(parents=True)
    for version in "3.13.9", "3.13.10":
        (suite.store / f"python3.13_{version}.orig.tar.xz").touch()
    suite.prune("python3.13", "3.13.10-2")
    assert [path.name for path in suite.store.glob("*.xz")] == [
        "python3.13_3.13.10.orig.tar.xz"]


def test_source_tarball(fake):
    name = fake.add("sid", "python3.13", "3.13.15-1", {"P/x": "x"},
                    "sources")
    suite = Suite(URI, "sid", "deb-src")
    suite.update()
    assert suite.versions("python3.13") == ["3.13.15-1"]
    for _ in "fetched", "found":
        path = suite.download_source("python3.13", "3.13.15-1")
        assert path == cache_dir() / "sources" / name
    assert fake.logged().count(f"get {name}") == 1


def test_cache_in_a_folder_with_spaces(fake, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a b"))
    fake.add("sid", "thing", "1-1", {"./x": "x"})
    suite, version = next(archive.releases("thing"))
    assert suite.download([f"thing={version}"])[0].exists()


def test_unwritable_cache(fake, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(Failure, match="cannot be made .*XDG_CACHE_HOME"):
        archive.using_cache()


def test_no_home(fake, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME", raising=False)
    with pytest.raises(Failure, match="neither XDG_CACHE_HOME nor HOME"):
        archive.using_cache()


def test_unpack(fake, tmp_path):
    fake.add("sid", "thing", "1-1", {
        "./usr/bin/thing": "good", "./usr/share/doc/thing/x": "unread",
        "./lib/y": "merged"})
    root = tmp_path / "root"
    (root / "usr" / "lib").mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")
    archive.unpack([fake.pool / "thing_1-1_amd64.deb"], root)
    assert (root / "usr" / "bin" / "thing").read_text() == "good"
    assert not (root / "usr" / "share").exists()
    assert (root / "usr" / "lib" / "y").read_text() == "merged"
    assert (root / "lib").is_symlink()


@pytest.mark.parametrize("content", [b"not a package", b"not a tar file"])
def test_unpack_what_is_no_package(fake, tmp_path, content):
    path = tmp_path / "thing.deb"
    path.write_bytes(content)
    with pytest.raises(Failure, match="thing.deb could not be unpacked: "
                       ) as caught:
        archive.unpack([path], tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("version, numbers", [
    ("3.15.2-1", (3, 15, 2)), ("1:3.13.18+dfsg-2", (3, 13, 18)),
    ("3.15.0~rc1-1", (3, 15, 0)), ("odd", ())])
def test_upstream(version, numbers):
    assert archive.upstream(version) == numbers
