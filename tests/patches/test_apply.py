"""./series apply: all of it, or one clear line and nothing changed."""

import shutil

import pytest

import faketree
from faketree import git, series, snapshot


def refused(project, *args, **kwargs):
    """Run apply, which has to fail; return its one line."""
    done = series(project, "apply", *args, **kwargs)
    assert done.returncode == 1, done
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines and lines[-1].startswith("series: "), done.stderr
    # Notices may come first; the failure is one line, and the last.
    assert "Traceback" not in done.stderr
    return lines[-1]


def state(repo):
    """Everything that a refused apply must not change in a checkout."""
    return (git(repo, "for-each-ref"), git(repo, "status", "--porcelain"),
            git(repo, "rev-parse", "HEAD"), git(repo, "config", "--list"),
            (repo / ".git" / "HEAD").read_text(), snapshot(repo))


def applied(project, *args, **kwargs):
    done = series(project, "apply", *args, **kwargs)
    assert done.returncode == 0, done.stderr
    return done


# What it is for.

def test_checkout(project, repo):
    done = applied(project, repo)
    assert done.stdout == (f"{repo}: branch persistent-http, 3 commits on "
                           f"3.13.15\n")
    assert git(repo, "branch", "--show-current") == "persistent-http\n"
    assert git(repo, "status", "--porcelain") == ""
    assert git(repo, "rev-parse", "main") == git(repo, "rev-parse", "base")
    assert git(repo, "log", "--reverse", "--format=%s",
               "main..").splitlines() == [
        "gh-1: Skip interim responses", "gh-2: Look before sending",
        "gh-3: Look everywhere"]
    assert (repo / "Lib/http/_probe.py").read_text().endswith("not None\n")


def test_upto(project, repo):
    assert "2 commits" in applied(project, repo, "--upto", "probe").stdout
    assert "def is_alive" in (repo / "Lib/http/_probe.py").read_text()
    # The rest goes upon it.
    done = applied(project, repo, "--branch", "rest")
    assert "1 commit on" in done.stdout
    assert "probe: already in the tree, skipped" in done.stderr


def test_plain_tree(project, tree, made):
    done = applied(project, tree)
    assert done.stdout == (f"{tree}: 3 patches applied to 3.13.15 in place, "
                           f"7 files\n")
    assert snapshot(tree) == snapshot(made / "repo")


def test_newer_than_known(project, tmp_path):
    repo = faketree.checkout(tmp_path / "main", (3, 16, 0))
    done = applied(project, repo)
    assert ("is CPython 3.16.0, newer than 3.15: trying the patches for 3.15"
            in done.stderr)


@pytest.mark.parametrize("plain", [False, True])
def test_merged_upstream(project, made, repo, plain):
    """In the middle; the release has moved its NEWS entry elsewhere."""
    faketree.edit_probe(repo)
    faketree.edit(repo, "Doc/library/http.client.rst", "Look, then send",
                  "Look (in version 3.15), then send")
    faketree.commit(repo, "gh-2: Look before sending (#123)")
    if plain:
        shutil.rmtree(repo / ".git")
    done = applied(project, repo)
    assert done.stderr.endswith(
        "series: probe: already in the tree, skipped\n")
    assert done.stderr.count("skipped") == 1
    assert "2 commits" in done.stdout or "2 patches" in done.stdout
    assert snapshot(repo / "Lib") == snapshot(made / "repo" / "Lib")


# From wherever, whoever.

def test_inside_a_git_command(project, repo, tmp_path):
    """As from a hook or an alias, with GIT_DIR of another repository."""
    other = faketree.checkout(tmp_path / "other")
    before = state(other)
    applied(project, repo, cwd=other, GIT_DIR=str(other / ".git"),
            GIT_WORK_TREE=str(other), GIT_INDEX_FILE=str(tmp_path / "index"))
    assert state(other) == before
    assert git(repo, "rev-list", "--count", "main..") == "3\n"


def test_hostile_settings(project, repo, tmp_path):
    hooks = tmp_path / "hooks"
    for name in ("pre-commit", "commit-msg", "applypatch-msg",
                 "pre-applypatch", "post-checkout", "post-commit",
                 "reference-transaction", "prepare-commit-msg"):
        faketree.write(hooks, name, "#!/bin/sh\necho hook\nexit 1\n")
        (hooks / name).chmod(0o755)
    settings = tmp_path / "gitconfig"
    for key, value in {
            "commit.gpgSign": "true", "gpg.program": "/bin/false",
            "core.hooksPath": hooks, "apply.whitespace": "error-all",
            "apply.ignoreWhitespace": "change", "am.threeWay": "true",
            "am.keepcr": "true", "user.useConfigOnly": "true",
            "i18n.commitEncoding": "latin-1", "color.ui": "always",
            "init.templateDir": "/nowhere", "user.name": "Grace",
            "user.email": "grace@example.org"}.items():
        git(tmp_path, "config", "--file", settings, key, value)
    done = applied(project, repo, GIT_CONFIG_GLOBAL=str(settings))
    assert "hook" not in done.stderr
    assert git(repo, "log", "-3", "--format=%cn <%ce> %an").split("\n") == [
        "Grace <grace@example.org> Ada Example"] * 3 + [""]
    assert git(repo, "status", "--porcelain") == ""


def test_autocrlf(project, repo, tmp_path):
    """A checkout with CRLF gets them too, its commits do not."""
    settings = tmp_path / "gitconfig"
    git(tmp_path, "config", "--file", settings, "core.autocrlf", "true")
    shutil.rmtree(repo / "Lib")
    git(repo, "checkout", "--", ".", GIT_CONFIG_GLOBAL=str(settings))
    client = repo / "Lib/http/client.py"
    assert b"\r\n" in client.read_bytes()
    applied(project, repo, GIT_CONFIG_GLOBAL=str(settings))
    for path in client, repo / "Lib/http/_probe.py":
        content = path.read_bytes()
        assert content.count(b"\r\n") == content.count(b"\n") > 0
    assert "\r" not in git(repo, "show", "HEAD:Lib/http/_probe.py")
    assert git(repo, "status", "--porcelain",
               GIT_CONFIG_GLOBAL=str(settings)) == ""


def test_no_user_name(project, repo):
    done = applied(project, repo)
    assert "git has no user.name and user.email" in done.stderr
    assert git(repo, "log", "-1", "--format=%cn %an") == (
        "series Ada Example\n")


# What is refused.

def test_not_a_cpython_tree(project, tmp_path):
    assert "is not a CPython source tree" in refused(project, tmp_path)


def test_no_such_folder(project, tmp_path):
    assert "does not exist" in refused(project, tmp_path / "nowhere")
    link = tmp_path / "link"
    link.symlink_to("gone")
    assert refused(project, link).startswith(
        f"series: {link} is a link to {tmp_path}/gone, which does not exist;")


@pytest.mark.parametrize("version", [(3, 13, 14), (3, 12, 30), (2, 7, 18)])
def test_too_old(project, tmp_path, version):
    repo = faketree.checkout(tmp_path / "old", version)
    before = state(repo)
    told = ".".join(map(str, version))
    assert refused(project, repo).endswith(
        f"is CPython {told}; the series needs 3.13.15 or newer")
    assert state(repo) == before


def test_dirty(project, repo):
    faketree.edit(repo, "Lib/http/client.py", "import socket",
                  "import socket  # mine")
    before = state(repo)
    assert refused(project, repo).endswith(
        "has changes that are not committed (Lib/http/client.py); commit or "
        "stash them first")
    assert state(repo) == before
    git(repo, "add", "--all")
    before = state(repo)
    assert "not committed" in refused(project, repo)
    assert state(repo) == before


@pytest.mark.parametrize("plain", [False, True])
def test_already_applied(project, repo, plain):
    if plain:
        shutil.rmtree(repo / ".git")
    applied(project, repo)
    before = snapshot(repo) if plain else state(repo)
    assert "already applied" in refused(project, repo)
    assert (snapshot(repo) if plain else state(repo)) == before


@pytest.mark.parametrize("option, branch", [
    ((), "persistent-http"), (("--branch", "mine"), "mine")])
def test_branch_exists(project, repo, option, branch):
    git(repo, "branch", branch)
    before = state(repo)
    assert f"the branch {branch} exists already" in refused(
        project, repo, *option)
    assert state(repo) == before


def test_impossible_branch(project, repo):
    before = state(repo)
    assert "no possible name" in refused(project, repo, "--branch", "a..b")
    assert state(repo) == before


@pytest.mark.parametrize("ignored", [False, True])
def test_untracked_file_in_the_way(project, repo, ignored):
    if ignored:
        (repo / ".git/info").mkdir(exist_ok=True)
        (repo / ".git/info/exclude").write_text("_probe.py\n")
    faketree.write(repo, "Lib/http/_probe.py", "mine\n")
    before = state(repo)
    assert refused(project, repo).endswith(
        "Lib/http/_probe.py is in the way: the series adds that file, and "
        "git does not track it; move it away")
    assert state(repo) == before


def test_file_in_the_way_in_a_plain_tree(project, tree):
    faketree.write(tree, "Lib/http/_probe.py", "mine\n")
    before = snapshot(tree)
    assert refused(project, tree).endswith(
        "probe does not apply to 3.13 at Lib/http/_probe.py, already exists; "
        "nothing was changed (what does apply: --upto skip-interim)")
    assert snapshot(tree) == before


@pytest.mark.parametrize("plain", [False, True])
def test_does_not_apply(project, repo, plain):
    """The last patch does not fit: the first two are not left behind."""
    faketree.edit(repo, "Lib/urllib/request.py", "opener.open(url, data)",
                  "opener.open(url, data, None)")
    faketree.commit(repo, "in the way")
    if plain:
        shutil.rmtree(repo / ".git")
    before = snapshot(repo) if plain else state(repo)
    line = refused(project, repo)
    assert ("probe-everywhere does not apply to 3.13 at "
            "Lib/urllib/request.py, hunk 1 (@@ -") in line
    assert line.endswith("); nothing was changed (what does apply: --upto "
                         "probe)")
    assert (snapshot(repo) if plain else state(repo)) == before


def test_tracked_by_an_unrelated_repository(project, tmp_path):
    """CPython unpacked into somebody's project is changed in place."""
    git(tmp_path, "init", "--quiet")
    top = faketree.plain_tree(tmp_path / "vendored")
    assert "in place" in applied(project, top).stdout


def test_nothing_is_left_in_the_temporary_folder(project, repo, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    applied(project, repo, TMPDIR=str(scratch))
    refused(project, repo, TMPDIR=str(scratch))
    assert list(scratch.iterdir()) == []
