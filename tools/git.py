"""git, called so that nobody's configuration changes what it does.

A user's or a repository's settings (signing, hooks, line endings, white
space, diff and mail options) and the GIT_* variables of a surrounding git
command must not decide what the series looks like or where it lands.
"""

import contextlib
import os
import re
import subprocess
import tempfile
from pathlib import Path

from tools.common import ROOT, Failure, need_program

# What is overridden for every command; the values are git's own defaults.
STEADY = {
    "am.keepCr": "false", "am.messageId": "false", "am.threeWay": "false",
    "apply.ignoreWhitespace": "none", "apply.whitespace": "nowarn",
    "color.ui": "false", "commit.gpgSign": "false",
    "core.attributesFile": str(ROOT / "tools" / "attributes"),
    "core.fsmonitor": "false", "core.hooksPath": os.devnull,
    "core.quotePath": "true", "core.splitIndex": "false",
    "diff.algorithm": "myers", "diff.context": "3",
    "diff.indentHeuristic": "true", "diff.interHunkContext": "0",
    "diff.mnemonicPrefix": "false", "diff.noprefix": "false",
    "diff.orderFile": os.devnull, "diff.renames": "false",
    "diff.suppressBlankEmpty": "false", "gc.auto": "0",
    "format.forceInBodyFrom": "false", "format.mboxrd": "false",
    "format.noprefix": "false", "format.signOff": "false",
    "i18n.commitEncoding": "utf-8", "i18n.logOutputEncoding": "utf-8",
    "log.showSignature": "false", "mailinfo.scissors": "false",
    "maintenance.auto": "false", "submodule.recurse": "false",
    "tag.gpgSign": "false",
}

# How files are written to a work tree is the owner's business where the
# tree is his (a checkout with CRLF must stay one), ours where it is ours.
OUR_TREE = {
    "core.autocrlf": "false", "core.eol": "lf", "core.safecrlf": "false",
    "core.sparseCheckout": "false", "index.sparse": "false",
}

# Where git finds its configuration stays: a user may need it to be allowed
# into his own checkout at all (safe.directory).
_KEPT = ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM",
         "GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_",
         "GIT_EXEC_PATH", "GIT_SSL_")

# Who commits what is not the user's own: fixed, so that ids repeat.
COMMITTER = {"GIT_COMMITTER_NAME": "series",
             "GIT_COMMITTER_EMAIL": "series@localhost"}

# The same for a commit that nobody wrote, such as a stock tree.
NOBODY = {**COMMITTER, "GIT_AUTHOR_NAME": "series",
          "GIT_AUTHOR_EMAIL": "series@localhost",
          "GIT_AUTHOR_DATE": "2000-01-01T00:00:00Z",
          "GIT_COMMITTER_DATE": "2000-01-01T00:00:00Z"}


def environment(extra=None):
    """Return the environment for git: ours without GIT_*, plus *extra*."""
    env = {name: value for name, value in os.environ.items()
           if not name.startswith("GIT_") or name.startswith(_KEPT)}
    env.update(LC_ALL="C", GIT_TERMINAL_PROMPT="0", GIT_OPTIONAL_LOCKS="0",
               GIT_EDITOR="false", GIT_PAGER="cat")
    env.update(extra or {})
    return env


def command(*args, repo=None, our_tree=True):
    """Return the argv of a git command in *repo*, configuration fixed."""
    argv = [need_program("git")]
    if repo is not None:
        argv += ["-C", os.fspath(repo)]
    settings = {**STEADY, **(OUR_TREE if our_tree else {})}
    for key, value in settings.items():
        argv += ["-c", f"{key}={value}"]
    return argv + [os.fspath(arg) for arg in args]


def call(*args, repo=None, env=None, stdin=None, our_tree=True):
    """Run git; return CompletedProcess with bytes, whatever its status."""
    return subprocess.run(command(*args, repo=repo, our_tree=our_tree),
                          input=stdin or b"", env=environment(env),
                          capture_output=True)


def git(*args, **kwargs):
    """Run git; return its output as bytes; Failure if it fails."""
    done = call(*args, **kwargs)
    if done.returncode:
        raise Failure(f"git {args[0]} failed: {complaint(done)}")
    return done.stdout


def line(*args, **kwargs):
    """Run git; return its output as text without the final newline."""
    return os.fsdecode(git(*args, **kwargs)).rstrip("\n")


def complaint(done):
    """Return the first line with which a failed git says why."""
    said = os.fsdecode(done.stderr.strip() or done.stdout.strip())
    why = re.search(r"^\s*(?:fatal|error): (.+)", said, re.MULTILINE)
    return why[1] if why else (said or f"status {done.returncode}"
                               ).splitlines()[0]


def identity(kind, repo=None):
    """Return (name, address) of the git user; None if not configured.

    kind: "AUTHOR" or "COMMITTER".
    """
    # Without this, git makes an address of the names of user and machine.
    done = call("-c", "user.useConfigOnly=true", "var", f"GIT_{kind}_IDENT",
                repo=repo, env={name: value for name, value
                                in os.environ.items()
                                if name.startswith(f"GIT_{kind}_")})
    found = re.match(r"(.+) <(.+)> \d", os.fsdecode(done.stdout))
    return found.groups() if found else None


def commit_id(repo, revision):
    """Return the id of the commit that *revision* names; None if none."""
    done = call("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}",
                repo=repo)
    return done.stdout.decode().strip() if done.returncode == 0 else None


def show(repo, revision, path):
    """Return the content of *path* at *revision*; None if it is not there."""
    done = call("cat-file", "blob", f"{revision}:{path}", repo=repo)
    return done.stdout if done.returncode == 0 else None


@contextlib.contextmanager
def repository_of(files):
    """Give a temporary bare repository; its tag base has {path: bytes}."""
    with tempfile.TemporaryDirectory(prefix="series-") as repo:
        git("init", "--quiet", "--bare", "--template=", repo)
        listed = b""
        for path, content in files.items():
            blob = git("hash-object", "-w", "--stdin", repo=repo,
                       stdin=content).strip()
            listed += b"100644 %b\t%b\0" % (blob, os.fsencode(path))
        git("update-index", "-z", "--index-info", repo=repo, stdin=listed)
        commit = line("commit-tree", line("write-tree", repo=repo), "-m",
                      "base", repo=repo, env=NOBODY)
        git("update-ref", "refs/tags/base", commit, repo=repo)
        yield Path(repo)
