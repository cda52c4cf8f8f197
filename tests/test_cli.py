"""The command line itself: help, usage and what stands before the verbs."""

import os
import subprocess

import pytest

import faketree
from tools import cli


@pytest.fixture
def told(capsys, monkeypatch):
    """Return a function: (exit status, stdout, stderr) of usage or help."""
    monkeypatch.setenv("COLUMNS", "80")

    def run(*args):
        with pytest.raises(SystemExit) as caught:
            cli.main(args)
        return (caught.value.code or 0, *capsys.readouterr())
    return run


@pytest.mark.parametrize("verb", cli.VERBS)
def test_help(told, verb):
    code, out, err = told(verb, "--help")
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) < 80
    usage, text, rest = out.split("\n\n", 2)
    assert usage.startswith(f"usage: series {verb} [-h]")
    # What it says is about this verb.
    assert text not in {told(other, "--help")[1].split("\n\n", 2)[1]
                        for other in cli.VERBS if other != verb}
    if verb in cli.CONFIGURING:     # its usage is written by hand
        options = rest.partition("\noptions:\n")[2].split()
        named = {word.strip(",") for word in options
                 if word.startswith("--")} - {"--help"}
        assert named == {word.strip("[]") for word in usage.split()
                         if word.startswith("[--") and word != "[--"}
        assert usage.endswith("[-- CONFIGURE_ARGUMENT...]")


@pytest.mark.parametrize("args, said", [
    (("status", "--bogus"), "unrecognized arguments: --bogus"),
    (("export", "x", "3.15", "y"), "unrecognized arguments: y"),
    *(((verb, "3.12"), "argument LINE: there is no line 3.12; take one of "
       "3.13, 3.14, 3.15") for verb in ("build", "python", "tree", "test",
                                        "status", "refresh", "demo")),
    (("apply",), "the following arguments are required: DIR"),
])
def test_wrong_usage(told, args, said):
    """Status 2, the usage of that verb, and one line."""
    code, out, err = told(*args)
    assert (code, out) == (2, "")
    assert err.startswith(f"usage: series {args[0]} [-h]")
    last = err.splitlines()[-1]
    assert last.startswith(f"series {args[0]}: error: ") and said in last


@pytest.mark.parametrize("args", [("build",), ("venv", "new"), ("status",)])
def test_no_git(project, tmp_path, args):
    """What to install comes first, and nothing is made."""
    before = faketree.snapshot(project)
    done = faketree.series(project, *args, cwd=project, PATH="/nowhere")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == ("series: git is not installed; install it first: "
                           "apt-get install git\n")
    assert faketree.snapshot(project) == before


@pytest.mark.parametrize("verb", cli.CONFIGURING)
@pytest.mark.parametrize("args, configure, line", [
    ((), None, None), (("--",), [], None), (("3.13",), None, "3.13"),
    (("3.13", "--", "--with-pydebug", "--", "3.14"),
     ["--with-pydebug", "--", "3.14"], "3.13"),
])
def test_arguments_for_configure(verb, args, configure, line):
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
