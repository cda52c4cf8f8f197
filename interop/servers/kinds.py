"""The servers: how each is had, started, reloaded and stopped."""

import contextlib
import hashlib
import itertools
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import time

import debian
from debian import Missing

HERE = pathlib.Path(__file__).parent
HTTPD_USER, HTTPD_GROUP = "nobody", "nogroup"
BASIC = "user:$apr1$interop1$Yz1SVH4e3296LuDLKuG/C.\n"
DIGEST = "user:here:%s\n" % hashlib.md5(
    b"user:here:secret", usedforsecurity=False).hexdigest()
PATIENCE = 30       # seconds for a server to start

PORTS = itertools.count(random.randrange(15_000, 25_000))


class Setting:
    """What all servers of a run share."""

    def __init__(self, place, home, python, peers):
        self.place = place      # of what is kept: packages
        self.home = home        # of what is not
        self.python = python    # a stock one
        self.peers = peers      # that of a venv with gunicorn and uvicorn
        self.log = home / "executed"
        self.certificate = home / "certificate.pem"
        self.upstream = None    # the port of the application

    def environment(self, more=()):
        kept = {name: os.environ[name] for name in ("PATH", "LANG")
                if name in os.environ}
        return {**kept, "HOME": str(self.home), "PYTHONDONTWRITEBYTECODE": "1",
                "INTEROP_LOG": str(self.log), **dict(more)}


def free_port():
    """Return one that the system gives to no client meanwhile."""
    for port in PORTS:
        with contextlib.suppress(OSError):
            socket.create_server(("127.0.0.1", port)).close()
            return port


# What answers 502 for an application that cuts a connection cannot do.
PROXY = {"cut", "KeyUpdate", "close_notify", "-www"}
APPLICATION = PROXY - {"cut"}


class Server:
    name = title = program = ""
    packages = ()
    template = None         # of its configuration
    mode = "checks"         # of client.py
    cannot = PROXY          # trials and checks; README.md says why
    reload_signal = None    # if there is none, it is restarted
    proxied = False

    def __init__(self, setting):
        self.setting = setting
        self.home = setting.home / self.name.replace(" ", "-")
        self.port, self.port6, self.tls_port = (free_port()
                                                for _ in range(3))
        self.process = None
        self.limit = None
        self.path, self.more = self.find()
        self.version = self.ask_version()

    # What a server's own class says.

    def find(self):
        """Return (path of the program, environment); raise Missing."""
        return debian.program(self.program, self.packages,
                              self.setting.place / "debian")

    def version_command(self):
        return [self.path, "-v"]

    def command(self):
        raise NotImplementedError

    def values(self):
        return {}

    @property
    def tls(self):
        return "pauses, TLS" not in self.cannot

    # What they share.

    @property
    def share(self):
        """The folder that is /usr in the program's package."""
        return pathlib.Path(self.path).parents[1]

    def ask_version(self):
        done = subprocess.run(
            self.version_command(), capture_output=True, text=True,
            timeout=PATIENCE, env=self.setting.environment(self.more))
        told = (done.stdout + done.stderr).replace("/", " ").split()
        return next((word.lstrip("v") for word in told
                     if word.lstrip("v")[:1].isdigit()), "?")

    def start(self, limit=None):
        """Start it; *limit* is that of requests for each connection."""
        self.limit = limit
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.mkdir()
        self.home.chmod(0o777)
        (self.home / "basic").write_text(BASIC)
        (self.home / "digest").write_text(DIGEST)
        if self.template:
            self.configure()
        with open(self.home / "output", "wb") as output:
            self.process = subprocess.Popen(
                self.command(), cwd=self.home, stdin=subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT,
                start_new_session=True,
                env=self.setting.environment(
                    {**self.more, "INTEROP_LIMIT": str(limit or 0)}))
        try:
            self.wait_started()
        except BaseException:
            self.stop()
            raise

    def configure(self):
        text = (HERE / self.template).read_text(encoding="utf-8")
        root = os.getuid() == 0
        values = {
            "HOME": self.home, "PORT": self.port, "PORT6": self.port6,
            "TLS": self.tls_port, "UPSTREAM": self.setting.upstream,
            "CERTIFICATE": self.setting.certificate, "IDLE": 1,
            "LIMIT": self.limit or 100_000, "SHARE": self.share,
            "USER_NGINX": "user root;" if root else "",
            "USER_HTTPD": f"User {HTTPD_USER}\nGroup {HTTPD_GROUP}"
                          if root else "",
            "USER_SQUID": "cache_effective_user nobody" if root else "",
            **self.values()}
        for name, value in values.items():
            text = text.replace(f"@{name}@", str(value))
        (self.home / "config").write_text(text, encoding="utf-8")

    def wait_started(self):
        deadline = time.monotonic() + PATIENCE
        while not (self.answers(self.port) and self.listens()):
            if self.process.poll() is not None \
                    or time.monotonic() > deadline:
                raise Missing(f"it does not start: {self.said()}")
            time.sleep(0.05)

    def answers(self, port):
        """Return whether it answers; some listen long before they do."""
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as sock:
                sock.sendall(b"GET /text HTTP/1.0\r\n\r\n")
                return bool(sock.recv(1))
        except OSError:
            return False

    def listens(self):
        """Return whether it does so on all its sockets."""
        places = [(socket.AF_INET, ("127.0.0.1", self.tls_port), self.tls)]
        places += [(socket.AF_INET6, ("::1", self.port6),
                    "IPv6" not in self.cannot),
                   (socket.AF_UNIX, f"{self.home}/socket",
                    "Unix socket" not in self.cannot)]
        for family, address, has in places:
            with socket.socket(family) as sock:
                if has and sock.connect_ex(address):
                    return False
        return True

    def said(self):
        told = ""
        for name in "output", "log":
            with contextlib.suppress(OSError):
                told += (self.home / name).read_text(errors="replace")
        lines = [line for line in told.splitlines() if line.strip()]
        return lines[-1][:150] if lines else "it says nothing"

    def reload(self):
        if self.reload_signal:
            return os.kill(self.process.pid, self.reload_signal)
        self.stop()
        self.start(self.limit)

    def stop(self):
        if self.process is None:
            return
        for number, patience in (signal.SIGTERM, 3), (signal.SIGKILL, 10):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(patience)
        self.process = None

    def where(self, tls=False):
        """Return the part of a client's job that says where it is."""
        port, scheme = (self.tls_port, "https") if tls else (self.port, "http")
        return {"url": f"{scheme}://127.0.0.1:{port}",
                "cafile": str(self.setting.certificate)}


class Nginx(Server):
    name = title = program = "nginx"
    packages = ["nginx"]
    template = "nginx.conf"
    reload_signal = signal.SIGHUP

    def command(self):
        return [self.path, "-p", str(self.home), "-c", f"{self.home}/config",
                "-e", f"{self.home}/log"]


class Httpd(Server):
    name, title, program = "httpd", "Apache httpd", "apache2"
    packages = ["apache2-bin"]
    template = "httpd.conf"
    cannot = PROXY | {"Unix socket"}
    reload_signal = signal.SIGUSR1

    def values(self):
        return {"MODULES": self.share / "lib/apache2/modules"}

    def command(self):
        return [self.path, "-DFOREGROUND", "-f", f"{self.home}/config"]


class HAProxy(Server):
    name, title, program = "haproxy", "HAProxy", "haproxy"
    packages = ["haproxy"]
    template = "haproxy.cfg"
    reload_signal = signal.SIGUSR2

    def command(self):
        return [self.path, "-W", "-db", "-f", f"{self.home}/config"]


class Lighttpd(Server):
    name = title = program = "lighttpd"
    packages = ["lighttpd", "lighttpd-mod-openssl", "lighttpd-mod-deflate"]
    template = "lighttpd.conf"
    reload_signal = signal.SIGUSR1

    def command(self):
        return [self.path, "-D", "-f", f"{self.home}/config",
                "-m", str(self.share / "lib/lighttpd")]


class Caddy(Server):
    name, title, program = "caddy", "Caddy", "caddy"
    packages = ["caddy"]
    template = "Caddyfile"
    cannot = PROXY | {"limit"}

    def version_command(self):
        return [self.path, "version"]

    def command(self):
        return [self.path, "run", "--adapter", "caddyfile",
                "--config", f"{self.home}/config"]

    reload_signal = "caddy reload"

    def reload(self):
        subprocess.run(
            [self.path, "reload", "--adapter", "caddyfile", "--force",
             "--config", f"{self.home}/config",
             "--address", f"unix/{self.home}/admin"],
            env=self.setting.environment(), timeout=PATIENCE,
            capture_output=True, check=True)


class Squid(Server):
    name, title, program = "squid", "Squid, forward", "squid"
    packages = ["squid"]
    template = "squid.conf"
    cannot = PROXY | {"limit", "pauses, TLS", "413, TLS", "tickets",
                      "Unix socket"}
    reload_signal = signal.SIGHUP
    proxied = True

    def command(self):
        return [self.path, "-N", "-f", f"{self.home}/config"]

    def where(self, tls=False):
        return {**super().where(),
                "url": f"http://127.0.0.1:{self.setting.upstream}",
                "proxy": f"http://127.0.0.1:{self.port}"}


class Connect(Squid):
    """Squid's tunnel to a TLS server, which ends idle connections."""

    name, title = "connect", "Squid, CONNECT"
    cannot = APPLICATION | {"pauses, TLS", "413", "413, TLS", "Unix socket"}
    reload_signal = None    # that would not end a tunnel

    def __init__(self, setting):
        super().__init__(setting)
        self.origin = HTTPServer(setting)
        self.origin.home = setting.home / "origin"

    def start(self, limit=None):
        self.origin.start(limit)
        super().start()

    def stop(self):
        super().stop()
        self.origin.stop()

    def where(self, tls=False):
        return {**self.origin.where(tls=True),
                "proxy": f"http://127.0.0.1:{self.port}"}


class Node(Server):
    name, title, program = "node", "Node", "node"
    cannot = APPLICATION

    def find(self):
        path = shutil.which("node") or shutil.which("nodejs")
        if not path:
            raise Missing("no node here; install Node")
        return path, {}

    def command(self):
        return [self.path, str(HERE / "app.js"), str(self.port),
                str(self.port6), str(self.home / "socket"), "1000",
                str(self.limit or 0), str(self.tls_port),
                str(self.setting.certificate)]


class InPython(Server):
    """A server of a virtual environment, or of the standard library."""

    module = ""

    def find(self):
        if self.setting.peers is None:
            raise Missing("the virtual environment could not be made")
        return str(self.setting.peers), {"PYTHONPATH": str(HERE)}

    def version_command(self):
        return [self.path, "-c", "import importlib.metadata as m; "
                                 f"print(m.version({self.module!r}))"]

    def commands(self):
        """Return those for each kind of socket, the plain one first."""
        raise NotImplementedError

    def command(self):
        # One process, with which they all end.
        return [self.path, "-c", f"""if True:
            import signal, subprocess
            made = [subprocess.Popen(argv) for argv in {self.commands()!r}]
            signal.signal(signal.SIGHUP,
                          lambda number, _: made[0].send_signal(number))
            while True:
                signal.pause()"""]


class Gunicorn(InPython):
    name = title = module = "gunicorn"
    cannot = APPLICATION | {"Expect, refused", "limit"}
    reload_signal = signal.SIGHUP

    def commands(self):
        run = [self.path, "-m", "gunicorn", "app:wsgi", "--workers=2",
               "--worker-class=gthread", "--threads=8", "--keep-alive=1",
               "--worker-connections=2000", "--backlog=512",
               "--log-level=critical", "--no-control-socket",
               "--graceful-timeout=2"]
        return [[*run, f"--bind=127.0.0.1:{self.port}",
                 f"--bind=[::1]:{self.port6}",
                 f"--bind=unix:{self.home}/socket"],
                [*run, f"--bind=127.0.0.1:{self.tls_port}",
                 f"--certfile={self.setting.certificate}"]]


class Uvicorn(InPython):
    name = title = module = "uvicorn"
    cannot = PROXY
    reload_signal = signal.SIGHUP

    def commands(self):
        run = [self.path, "-m", "uvicorn", "app:asgi", "--backlog=512",
               "--timeout-keep-alive=1", "--log-level=critical",
               "--timeout-graceful-shutdown=2"]
        two = [*run, "--workers=2"]
        return [[*two, f"--port={self.port}"],
                [*two, f"--port={self.tls_port}",
                 f"--ssl-certfile={self.setting.certificate}"],
                [*run, "--host=::1", f"--port={self.port6}"],
                [*run, f"--uds={self.home}/socket"]]


class HTTPServer(InPython):
    name = title = "http.server"
    cannot = APPLICATION

    def find(self):
        return str(self.setting.python), {}

    def version_command(self):
        return [self.path, "-V"]

    def commands(self):
        return [[self.path, str(HERE / "app.py"), *rest] for rest in (
            [str(self.port), "1"], [f"6:{self.port6}", "1"],
            [str(self.tls_port), "1", str(self.setting.certificate)],
            ["0", "1", "", f"{self.home}/socket"])]


class Application(HTTPServer):
    """What is behind the servers; it closes no connection."""

    name = "application"
    cannot = APPLICATION | {"pauses, TLS", "IPv6", "Unix socket"}

    def commands(self):
        return [[self.path, str(HERE / "app.py"), str(self.port), "0"]]


class OpenSSL(Server):
    """s_server, which the checks of s_server.py start and drive."""

    name, title, mode = "openssl", "openssl s_server", "openssl"
    cannot = {"pauses", "pauses, TLS", "limit", "reload", "cut",
              "chunked POST", "HEAD", "Expect, 100", "Expect, refused",
              "413", "413, TLS", "Basic", "Digest"}

    def find(self):
        path = shutil.which("openssl")
        if not path:
            raise Missing("no openssl here; install it")
        return path, {}

    def version_command(self):
        return [self.path, "version"]

    def start(self, limit=None):
        pass


KINDS = {kind.name: kind for kind in (
    Nginx, Httpd, HAProxy, Lighttpd, Caddy, Squid, Connect, Node, Gunicorn,
    Uvicorn, HTTPServer, OpenSSL)}


def certificate(path, openssl="openssl"):
    """Write a certificate for loopback addresses; return whether it did."""
    with contextlib.suppress(OSError):
        return not subprocess.run(
            [openssl, "req", "-x509", "-newkey", "rsa:2048", "-noenc",
             "-subj", "/CN=localhost", "-days", "2", "-keyout", str(path),
             "-out", f"{path}.crt", "-addext",
             "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"],
            capture_output=True).returncode and append(path)
    return False


def append(path):
    with open(path, "a") as file:
        file.write(pathlib.Path(f"{path}.crt").read_text())
    path.chmod(0o644)
    return True
