"""./series apply: all of it, or one clear line and nothing changed."""

import re
import shutil

import pytest

import faketree
from faketree import change, edit, git, series, snapshot, write

CLIENT, PROBE = "Lib/http/client.py", "Lib/http/_probe.py"


def run(project, *args, **kwargs):
    """Run apply; nothing is left in the temporary folder."""
    scratch = project.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    done = series(project, "apply", *args, TMPDIR=str(scratch), **kwargs)
    assert list(scratch.iterdir()) == []
    return done


def applied(project, *args, **kwargs):
    done = run(project, *args, **kwargs)
    assert done.returncode == 0, done.stderr
    return done


def refused(project, *args):
    """Run apply, which has to fail; return its one line."""
    done = run(project, *args)
    assert (done.returncode, done.stdout) == (1, ""), done
    # Notices may come first; the failure is one line, and the last.
    assert "Traceback" not in done.stderr
    line = done.stderr.splitlines()[-1]
    assert line.startswith("series: ")
    return line


def state(repo):
    """Everything that a refused apply must not change."""
    if not (repo / ".git").exists():
        return snapshot(repo)
    return (git(repo, "for-each-ref"), git(repo, "status", "--porcelain"),
            git(repo, "config", "--list"), snapshot(repo),
            (repo / ".git" / "HEAD").read_text())


# What it is for.

def test_checkout(project, repo):
    done = applied(project, repo)
    assert done.stdout == (f"{repo}: branch persistent-http, 3 commits on "
                           f"3.13.15\n")
    assert git(repo, "branch", "--show-current") == "persistent-http\n"
    assert git(repo, "status", "--porcelain") == ""
    assert git(repo, "rev-parse", "main") == git(repo, "rev-parse", "base")
    assert git(repo, "log", "--format=%s, by %an, %cn", "main..") == (
        "gh-3: Look everywhere, by Ada Example, series\n"
        "gh-2: Look before sending, by Ada Example, series\n"
        "gh-1: Skip interim responses, by Ada Example, series\n")
    assert "git has no user.name and user.email" in done.stderr
    assert (repo / PROBE).read_text().endswith("not None\n")


def test_upto(project, repo):
    assert "2 commits" in applied(project, repo, "--upto", "probe").stdout
    assert "def is_alive" in (repo / PROBE).read_text()
    # The rest goes upon it.
    done = applied(project, repo, "--branch", "rest")
    assert "1 commit on" in done.stdout
    assert "probe: already in the tree, skipped" in done.stderr


def test_plain_tree(project, tree, made):
    """Also one in somebody's project, of which git tracks something else."""
    git(tree.parent, "init", "--quiet")
    done = applied(project, tree)
    assert done.stdout == (f"{tree}: 3 patches applied to 3.13.15 in place, "
                           f"7 files\n")
    assert snapshot(tree) == snapshot(made / "repo")


def test_newer_than_known(project, tree):
    faketree.set_version(tree, 3, 16, 0)
    assert ("is CPython 3.16.0, newer than 3.15: trying the patches for "
            "3.15" in applied(project, tree).stderr)


@pytest.mark.parametrize("plain", [False, True])
def test_merged_upstream(project, made, repo, plain):
    """In the middle; the release has moved its NEWS entry elsewhere."""
    faketree.commit_series(repo, "probe")
    change(repo, "Doc/library/http.client.rst", "Look, then send",
           "Look (in version 3.15), then send")
    if plain:
        shutil.rmtree(repo / ".git")
    done = applied(project, repo)
    assert done.stderr.endswith(
        "series: probe: already in the tree, skipped\n")
    assert done.stderr.count("skipped") == 1
    assert "2 commits" in done.stdout or "2 patches" in done.stdout
    assert snapshot(repo / "Lib") == snapshot(made / "repo" / "Lib")


@pytest.mark.parametrize("plain", [False, True])
def test_variants_for_main(project, repo, plain):
    """As gh-42550 does, begin() is changed: the first patch no longer fits."""
    faketree.edit(repo, "Lib/http/client.py", "        self.status = status\n",
                  "        self.code = self.status = status\n")
    faketree.edit(repo, "Lib/http/client.py", "    def begin(self):\n",
                  "    def begin(self, support_continue=False):\n")
    faketree.commit(repo, "gh-42550")
    assert "skip-interim does not apply" in refused(project, repo)
    faketree.edit(repo, "Lib/http/client.py", "        self.code",
                  "        if status == 103:\n"
                  "            return self.begin(support_continue)\n"
                  "        self.code")
    diff = git(repo, "diff")
    git(repo, "checkout", "--quiet", ".")
    faketree.write(project, "patches/main/skip-interim.diff",
                   f"For main.\n\n{diff}")
    if plain:
        shutil.rmtree(repo / ".git")
    done = applied(project, repo)
    assert ("series: as for main, so unverified: skip-interim; "
            "Doc/library/http.client.rst is left out\n") in done.stderr
    assert "self.begin(support_" in (repo / "Lib/http/client.py").read_text()
    assert "test_interim" in (repo / "Lib/test/test_httplib.py").read_text()
    assert "interim" not in (
        repo / "Doc/library/http.client.rst").read_text().lower()


# From wherever, whoever.

def test_inside_a_git_command(project, repo, tmp_path):
    """As from a hook or an alias, with GIT_DIR of another repository."""
    other = faketree.checkout(tmp_path / "other")
    before = state(other)
    applied(project, repo, cwd=other, GIT_DIR=str(other / ".git"),
            GIT_WORK_TREE=str(other), GIT_INDEX_FILE=str(tmp_path / "index"))
    assert state(other) == before
    assert git(repo, "rev-list", "--count", "main..") == "3\n"


def settings(tmp_path, text):
    """Write a user's settings; return the variable that names them."""
    write(tmp_path, "gitconfig", text)
    return {"GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig")}


def test_hostile_settings(project, repo, tmp_path):
    for name in ("pre-commit", "applypatch-msg", "post-checkout",
                 "reference-transaction"):
        write(tmp_path, f"hooks/{name}", "#!/bin/sh\necho hook\nexit 1\n")
        (tmp_path / "hooks" / name).chmod(0o755)
    done = applied(project, repo, **settings(tmp_path, f"""\
[user] name = Grace
       email = grace@example.org
       useConfigOnly = true
[core] hooksPath = {tmp_path}/hooks
[commit] gpgSign = true
[gpg] program = /bin/false
[apply] whitespace = error-all
        ignoreWhitespace = change
[i18n] commitEncoding = latin-1
[color] ui = always
[init] templateDir = /nowhere
"""))
    assert "hook" not in done.stderr
    assert git(repo, "log", "--format=%cn <%ce> %an", "main..") == (
        "Grace <grace@example.org> Ada Example\n" * 3)
    assert git(repo, "status", "--porcelain") == ""


def test_autocrlf(project, repo, tmp_path):
    """A checkout with CRLF gets them too, its commits do not."""
    crlf = settings(tmp_path, "[core] autocrlf = true\n")
    shutil.rmtree(repo / "Lib")
    git(repo, "checkout", "--", ".", **crlf)
    assert b"\r\n" in (repo / CLIENT).read_bytes()
    applied(project, repo, **crlf)
    for name in CLIENT, PROBE:
        content = (repo / name).read_bytes()
        assert content.count(b"\r\n") == content.count(b"\n") > 0
    assert "\r" not in git(repo, "show", f"HEAD:{PROBE}")
    assert git(repo, "status", "--porcelain", **crlf) == ""


# What is refused.

def test_what_is_no_tree(project, tmp_path):
    assert "is not a CPython source tree" in refused(project, tmp_path)
    assert "does not exist" in refused(project, tmp_path / "nowhere")
    link = tmp_path / "link"
    link.symlink_to("gone")
    assert refused(project, link).startswith(
        f"series: {link} is a link to {tmp_path}/gone, which does not exist;")


def edit_client(repo):
    edit(repo, CLIENT, "import socket", "import socket  # mine")


def put_probe(repo):
    write(repo, PROBE, "mine\n")


def put_ignored_probe(repo):
    put_probe(repo)
    write(repo, ".git/info/exclude", "_probe.py\n")


def change_request(repo):
    """The last patch does not fit: the first two are not left behind."""
    change(repo, "Lib/urllib/request.py", "opener.open(url, data)",
           "opener.open(url, data, None)")


IN_THE_WAY = (rf"{PROBE} is in the way: the series adds that file, and git "
              rf"does not track it; move it away$")
CONFLICT = (r"probe-everywhere does not apply to 3.13 at "
            r"Lib/urllib/request.py, hunk 1 \(@@ -.*\); nothing was changed "
            r"\(what does apply: --upto probe\)$")


@pytest.mark.parametrize("kind, do, branch, said", [
    ("checkout", lambda repo: faketree.set_version(repo, 3, 13, 14), "x",
     "is CPython 3.13.14; the series needs 3.13.15 or newer$"),
    ("plain", lambda repo: faketree.set_version(repo, 2, 7, 18), "x",
     "is CPython 2.7.18; the series needs "),
    ("checkout", edit_client, "x", r"has changes that are not committed "
     r"\(Lib/http/client.py\); commit or stash them first$"),
    ("checkout", faketree.commit_series, "x", "already applied"),
    ("plain", faketree.commit_series, "x", "already applied"),
    ("checkout", lambda repo: git(repo, "branch", "persistent-http"),
     "persistent-http", "the branch persistent-http exists already"),
    ("checkout", lambda repo: None, "a..b", "no possible name"),
    ("checkout", put_probe, "x", IN_THE_WAY),
    ("checkout", put_ignored_probe, "x", IN_THE_WAY),
    ("plain", put_probe, "x", rf"probe does not apply to 3.13 at {PROBE}, "
     r"already exists; nothing was changed \(what does apply: --upto "
     r"skip-interim\)$"),
    ("checkout", change_request, "x", CONFLICT),
    ("plain", change_request, "x", CONFLICT),
])
def test_refused(project, repo, kind, do, branch, said):
    do(repo)
    if kind == "plain":
        shutil.rmtree(repo / ".git")
    before = state(repo)
    assert re.search(said, refused(project, repo, "--branch", branch))
    assert state(repo) == before
