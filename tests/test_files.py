"""Several files are written, or none is."""

import os

import pytest

import faketree
from tools import files
from tools.common import Failure


@pytest.fixture
def top(tmp_path):
    faketree.write(tmp_path, "changed", "old\n")
    faketree.write(tmp_path, "folder/removed", "old\n")
    (tmp_path / "changed").chmod(0o755)
    return tmp_path


def changes(top):
    return {top / "added/deep": b"new\n", top / "changed": b"new\n",
            top / "folder/removed": None, top / "run": (b"new\n", True)}


def test_all(top):
    files.replace_files(changes(top))
    assert {name: (content, mode & 0o777) for name, (content, mode)
            in faketree.snapshot(top).items()} == {
        "added/deep": (b"new\n", 0o644), "changed": (b"new\n", 0o755),
        "run": (b"new\n", 0o755)}
    assert not (top / "folder").exists()


def test_full_disk(top, monkeypatch):
    """The file is named although the error does not."""
    before = faketree.snapshot(top)

    def write_bytes(path, content):
        path.touch()
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(files.Path, "write_bytes", write_bytes)
    with pytest.raises(Failure, match=f"^{top}/added/deep cannot be written: "
                       "No space left on device; nothing was changed$"):
        files.replace_files(changes(top))
    monkeypatch.undo()
    assert faketree.snapshot(top) == before


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"),
                                   KeyboardInterrupt()])
@pytest.mark.parametrize("call", range(1, 7))
def test_none(top, monkeypatch, error, call):
    """Whichever step fails, everything is as it was."""
    before, real, calls = faketree.snapshot(top), os.replace, []

    def replace(source, target):
        calls.append(source)
        if len(calls) == call:
            raise error
        real(source, target)
    monkeypatch.setattr(os, "replace", replace)
    wanted = KeyboardInterrupt if isinstance(
        error, KeyboardInterrupt) else Failure
    try:
        files.replace_files(changes(top))
    except wanted:
        assert faketree.snapshot(top) == before
        assert sorted(os.listdir(top)) == ["changed", "folder"]
    else:
        assert len(calls) < call
