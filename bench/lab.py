"""Where the benchmarks run: the server, and the programs in bench/."""

import contextlib
import http.client
import json
import select
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.common import ROOT, Failure
from tools.demo_server import CERTIFICATE
from tools.regrtest import environment

PROGRAMS = ROOT / "bench"
# A P-256 key with no chain, which is the cheapest handshake there is; and RSA
# of 2048 bits with an intermediate, as many servers have it.
TRUSTED = {"tls": CERTIFICATE, "far_tls": CERTIFICATE,
           "rsa": PROGRAMS / "rsa_root.pem"}
RSA_CHAIN = PROGRAMS / "rsa_chain.pem"
HOST = "127.0.0.1"
TIMEOUT = 120       # seconds for one answer of a program
GRACE = 10          # seconds for it to end


class Child:
    """A program in bench/ that answers a line with a line, as JSON."""

    def __init__(self, argv, errors):
        self.requests = 0       # how many it was asked for
        self._argv = argv
        self._errors = errors
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=errors, env=environment(), text=True)

    def ask(self, **command):
        """Return the answer to *command*; Failure if there is none."""
        self.requests += command.get("count", 0)
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:     # it has said why
            pass
        return self.answer()

    def answer(self, seconds=TIMEOUT):
        """Return the next thing that the program prints."""
        poller = select.poll()
        poller.register(self._process.stdout, select.POLLIN)
        ready = poller.poll(seconds * 1000)
        line = self._process.stdout.readline() if ready else ""
        if not line:
            self.end()
            raise self._failure(ready, seconds)
        return json.loads(line)

    def _failure(self, ready, seconds):
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").splitlines()
        why = said[-1] if said else (
            f"status {self._process.returncode}" if ready
            else f"no answer within {seconds} s")
        program = next(Path(arg).name for arg in self._argv
                       if arg.endswith(".py"))
        return Failure(f"bench/{program} did not end well with "
                       f"{self._argv[0]}: {why}")

    def end(self):
        """End the program, as it does by itself unless something hangs."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


class Lab:
    """The server, and a way to run programs; a context manager.

    Programs use nothing of the environment, and no bytecode but their own,
    in a scratch folder.
    """

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self._scratch = Path(stack.enter_context(
                tempfile.TemporaryDirectory(prefix="series-bench-")))
            self._stack = stack
            server = self.start(sys.executable, "server.py", CERTIFICATE,
                                RSA_CHAIN)
            self._ports = server.answer()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info):
        self._stack.close()

    def start(self, python, program, *args, under=()):
        """Start bench/*program*; return the Child, which ends with the Lab.

        under: the command line of a tracer.
        """
        errors = self._stack.enter_context(tempfile.TemporaryFile())
        argv = [*under, python, "-E", "-s", "-X",
                f"pycache_prefix={self._scratch / 'bytecode'}",
                PROGRAMS / program, *args]
        child = Child([str(arg) for arg in argv], errors)
        self._stack.callback(child.end)
        return child

    def once(self, python, program, **options):
        """Run a program that answers once; return its answer."""
        child = self.start(python, program, json.dumps(options))
        try:
            return child.answer()
        finally:
            child.end()

    @contextlib.contextmanager
    def clients(self, wanted):
        """Give {name: Child} of bench/clients.py.

        wanted: {name: (interpreter, options)}; the option "connections"
        tells how many there are for each request, without it there is one
        for all of them.  Raises Failure at the end if there were more or
        less of them.
        """
        before = self.count("accepted")
        wanted = {name: (python, dict(options))
                  for name, (python, options) in wanted.items()}
        each = {name: options.pop("connections", None)
                for name, (_, options) in wanted.items()}
        children = {name: self.client(python, **options)
                    for name, (python, options) in wanted.items()}
        try:
            yield children
        finally:
            for child in children.values():
                child.end()
        used = self.count("accepted") - before - 1      # the last one asked
        due = sum(child.requests * each[name] if each[name] else 1
                  for name, child in children.items())
        if used != due:
            raise Failure(f"{len(children)} clients used {used} connections "
                          f"instead of {due}: {', '.join(children)}")

    def client(self, python, client="http.client", *, under=(),
               port="plain", **options):
        """Return a Child that runs bench/clients.py."""
        options.update(self.address(port), client=client)
        return self.start(python, "clients.py", json.dumps(options),
                          under=under)

    def count(self, what):
        """Return how many connections the server has "accepted" so far.

        Or how many records it has "logged".
        """
        conn = http.client.HTTPConnection(HOST, self._ports["plain"],
                                          timeout=TIMEOUT)
        with contextlib.closing(conn):
            conn.request("GET", f"/{what}")
            return int(conn.getresponse().read())

    def scratch(self, name):
        """Return the Path of a file that goes with the Lab."""
        return self._scratch / name

    def address(self, port="plain"):
        """Return the options that tell a program where the server is.

        port: "plain", "tls", "rsa", "xmlrpc", "far" or "far_tls".
        """
        cafile = TRUSTED.get(port)
        return {"host": HOST, "port": self._ports[port],
                "cafile": cafile and str(cafile)}
