"""The command line itself: help, usage and what stands before the verbs."""

import os
import subprocess

import pytest

import faketree
from tools import cli


def told(capsys, *args):
    """Return (exit status, stdout, stderr) of a usage or help."""
    with pytest.raises(SystemExit) as caught:
        cli.main(list(args))
    return (caught.value.code or 0, *capsys.readouterr())


@pytest.mark.parametrize("verb", cli.VERBS)
def test_help(capsys, monkeypatch, verb):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = told(capsys, verb, "--help")
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) < 80
    usage, text = out.split("\n\n", 2)[:2]
    assert usage.startswith(f"usage: series {verb} [-h]")
    assert all(line.strip() for line in usage.splitlines())
    # What it says is about this verb.
    assert text not in {told(capsys, other, "--help")[1].split("\n\n", 2)[1]
                        for other in cli.VERBS if other != verb}


@pytest.mark.parametrize("verb", cli.CONFIGURING)
def test_usage_written_by_hand_is_complete(capsys, monkeypatch, verb):
    monkeypatch.setenv("COLUMNS", "80")
    out = told(capsys, verb, "--help")[1]
    usage, _, rest = out.partition("\n\n")
    options = rest.partition("\noptions:\n")[2]
    named = {word.strip(",") for word in options.split()
             if word.startswith("--")} - {"--help"}
    assert named == {word.strip("[]") for word in usage.split()
                     if word.startswith("[--") and word != "[--"}
    assert usage.endswith("[-- CONFIGURE_ARGUMENT...]")


@pytest.mark.parametrize("args, said", [
    (("status", "--bogus"), "unrecognized arguments: --bogus"),
    (("export", "x", "3.15", "y"), "unrecognized arguments: y"),
    (("tree", "3.13", "--", "--with-pydebug"),
     "unrecognized arguments: "),
    *(((verb, "3.12"), "argument LINE: there is no line 3.12; take one of "
       "3.13, 3.14, 3.15") for verb in ("build", "python", "tree", "test",
                                        "status", "refresh", "demo")),
    (("export", "x", "3.12"), "there is no line 3.12"),
    (("apply",), "the following arguments are required: DIR"),
])
def test_wrong_usage(capsys, args, said):
    """Status 2, the usage of that verb, and one line."""
    code, out, err = told(capsys, *args)
    assert (code, out) == (2, "")
    assert err.startswith(f"usage: series {args[0]} [-h]")
    assert err.splitlines()[-1].startswith(f"series {args[0]}: error: ")
    assert said in err.splitlines()[-1]


@pytest.mark.parametrize("args", [
    ("build",), ("python", "3.13"), ("tree",), ("test",), ("venv", "new"),
    ("apply", "."), ("refresh",), ("status",), ("export", "new"), ("demo",)])
def test_no_git(project, tmp_path, args):
    """What to install comes first, and nothing is made."""
    (tmp_path / "bin").mkdir()
    before = faketree.snapshot(project)
    done = faketree.series(project, *args, cwd=project,
                           PATH=str(tmp_path / "bin"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == ("series: git is not installed; install it first: "
                           "apt-get install git\n")
    assert faketree.snapshot(project) == before
    assert not (project / "build").exists() or not any(
        (project / "build").iterdir())


@pytest.mark.parametrize("args, configure, line", [
    ((), None, None), (("--",), [], None), (("3.13",), None, "3.13"),
    (("3.13", "--", "--with-pydebug", "--", "3.14"),
     ["--with-pydebug", "--", "3.14"], "3.13"),
])
def test_arguments_for_configure(args, configure, line):
    for verb in cli.CONFIGURING:
        parsed = cli.parse([verb, *args])
        assert (parsed.configure, parsed.line) == (configure, line)


@pytest.mark.parametrize("args", [("--help",), ("status", "--help")])
def test_output_closed_early(project, args):
    read, written = os.pipe()
    os.close(read)
    done = subprocess.run([project / "series", *args], stdout=written,
                          stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                          env=faketree.environment(PYTHONUNBUFFERED=""))
    os.close(written)
    assert (done.returncode, done.stderr) == (1, b"")
