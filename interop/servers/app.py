"""The application behind the servers: WSGI, ASGI, and over http.server.

    python3 app.py PORT IDLE_TIMEOUT [CERTIFICATE [UNIX_SOCKET]]

It appends the identifier in each POST that it executes to $INTEROP_LOG, from
which is seen what was executed twice.  Where the server has no limit of its
own, a connection ends after $INTEROP_LIMIT requests, unless that is 0.
"""

import collections
import gzip
import hashlib
import http.server
import os
import signal
import socket
import ssl
import sys
import time
import urllib.request
import xmlrpc.client

LIMIT = 1_000_000       # bytes; a longer body is answered with 413
TEXT = b"".join(b"line %d of a text that can be compressed\n" % number
                for number in range(500))
PIECES = [b"piece %d, " % number * 50 for number in range(5)]
CUT = "cut"             # such a POST is executed, and has no response
TAG = '"one"'
TYPE = ("Content-Type", "text/plain")
CLOSE = ("Connection", "close")
MOST = int(os.environ.get("INTEROP_LIMIT", 0))
# Nothing here depends on a nonce that is new.
CHALLENGES = {"/basic": 'Basic realm="here"',
              "/digest": 'Digest realm="here", nonce="one", qop="auth"'}
counts = collections.Counter()      # of requests, by the client's address


def executed(name):
    log = os.open(os.environ["INTEROP_LOG"],
                  os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(log, name + b"\n")
    finally:
        os.close(log)


def answer(method, target, fields, body):
    """Return (status, fields, body, or a list of its chunks, or None)."""
    path = target.partition("?")[0]
    if path in CHALLENGES and not knows(
            method, *fields.get("authorization", " ").split(" ", 1)):
        return "401 Unauthorized", \
            [("WWW-Authenticate", CHALLENGES[path])], b"who?"
    if method == "POST" and path == "/RPC2":
        (name,), _ = xmlrpc.client.loads(body)
        executed(name.encode())
        if name.startswith(CUT):
            return "200 OK", [], None
        text = xmlrpc.client.dumps((f"done {name}",), methodresponse=True)
        return "200 OK", [("Content-Type", "text/xml")], text.encode()
    if method == "POST":
        name = body.partition(b" ")[0]
        executed(name)
        if name.startswith(CUT.encode()):
            return "200 OK", [], None
        if path == "/see-other":
            return "303 See Other", [("Location", "/text")], b"moved"
        return "200 OK", [TYPE], b"done %b %d" % (name, len(body))
    if path.startswith("/echo"):
        return "200 OK", [TYPE], target.encode() + b" " + body
    if path == "/chunked":
        return "200 OK", [TYPE], PIECES
    if path == "/gzip" and "gzip" in fields.get("accept-encoding", ""):
        return "200 OK", [TYPE, ("Content-Encoding", "gzip")], \
            gzip.compress(TEXT)
    if path == "/204":
        return "204 No Content", [], b""
    if path == "/304" and fields.get("if-none-match") == TAG:
        return "304 Not Modified", [("ETag", TAG)], b""
    if path == "/redirect":
        return "302 Found", [("Location", "/text"), TYPE], b"moved"
    return "200 OK", [TYPE, ("ETag", TAG)], TEXT


def knows(method, scheme, told):
    """Return whether these credentials are right."""
    if scheme != "Digest":
        return (scheme, told) == ("Basic", "dXNlcjpzZWNyZXQ=")
    told = urllib.request.parse_keqv_list(urllib.request.parse_http_list(told))
    return told["response"] == md5(
        md5("user", "here", "secret"), told["nonce"], told["nc"],
        told["cnonce"], "auth", md5(method, told["uri"]))


def md5(*words):
    return hashlib.md5(":".join(words).encode(),
                       usedforsecurity=False).hexdigest()


def is_last(client):
    """Count a request; return whether its connection ends then."""
    counts[client] += 1
    return MOST and counts[client] % MOST == 0


def too_large(fields):
    return int(fields.get("content-length") or 0) > LIMIT


def finish(status, fields, body):
    """Add the length, unless there is none."""
    if isinstance(body, bytes) and status[:3] not in ("204", "304"):
        fields = [*fields, ("Content-Length", str(len(body)))]
    return status, fields, body


def wsgi(environ, start_response):
    fields = {name[5:].lower().replace("_", "-"): value
              for name, value in environ.items() if name.startswith("HTTP_")}
    fields["content-length"] = environ.get("CONTENT_LENGTH")
    if too_large(fields):
        start_response("413 Too Large", [("Content-Length", "5")])
        return [b"large"]
    target = environ["PATH_INFO"]
    if environ["QUERY_STRING"]:
        target += "?" + environ["QUERY_STRING"]
    status, fields, body = finish(*answer(
        environ["REQUEST_METHOD"], target, fields,
        environ["wsgi.input"].read()))
    if body is None:
        os.kill(os.getpid(), signal.SIGKILL)
    start_response(status, fields)
    return body if isinstance(body, list) else [body]


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    fields = {name.decode("latin-1"): value.decode("latin-1")
              for name, value in scope["headers"]}
    if too_large(fields):
        status, fields, body = finish("413 Too Large", [], b"large")
    else:
        told, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            told += message.get("body", b"")
            more = message.get("more_body")
        target = scope["raw_path"].decode()
        if scope["query_string"]:
            target += "?" + scope["query_string"].decode()
        status, fields, body = finish(*answer(scope["method"], target,
                                              fields, told))
    if scope["client"] and is_last(tuple(scope["client"])):
        fields = [*fields, CLOSE]
    await send({"type": "http.response.start", "status": int(status[:3]),
                "headers": [(name.encode(), value.encode())
                            for name, value in fields]})
    for piece in body if isinstance(body, list) else [body]:
        await send({"type": "http.response.body", "body": piece,
                    "more_body": True})
    await send({"type": "http.response.body", "body": b""})


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    idle = None     # seconds until an idle connection is closed

    def handle_one_request(self):
        super().handle_one_request()
        self.connection.settimeout(self.idle)

    def do_GET(self):
        fields = {name.lower(): value for name, value in self.headers.items()}
        if too_large(fields):
            return self._refuse()
        status, fields, body = finish(*answer(
            self.command, self.path, fields, self._body(fields)))
        if body is None:
            self.close_connection = True
            return
        chunked = isinstance(body, list)
        if chunked:
            fields = [*fields, ("Transfer-Encoding", "chunked")]
        if is_last(self.client_address):
            fields = [*fields, CLOSE]
        code, _, reason = status.partition(" ")
        self.send_response(int(code), reason)
        for name, value in fields:
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if not chunked:
            self.wfile.write(body)
            return
        for piece in [*body, b""]:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            # So that what is in between does not take it for one.
            time.sleep(0.01)

    do_HEAD = do_POST = do_PUT = do_GET

    def _body(self, fields):
        if fields.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(fields.get("content-length") or 0))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _refuse(self):
        self.close_connection = True
        self.send_response(413)
        self.send_header("Content-Length", "5")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"large")
        return False

    def handle_expect_100(self):
        if int(self.headers.get("Content-Length") or 0) > LIMIT:
            return self._refuse()
        return super().handle_expect_100()

    def handle(self):
        try:
            super().handle()
        except (ConnectionError, ssl.SSLError, TimeoutError):
            pass

    def address_string(self):
        return "somebody"

    def log_message(self, *args):
        pass


class UnixHandler(Handler):
    disable_nagle_algorithm = False     # which only TCP has


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 512
    context = None

    def server_bind(self):
        if self.address_family == socket.AF_UNIX:
            return self.socket.bind(self.server_address)
        return super().server_bind()

    def get_request(self):
        sock, address = super().get_request()
        # Here it does not wait for the handshake of one client.
        sock.settimeout(30)
        if self.context is not None:
            sock = self.context.wrap_socket(sock, server_side=True,
                                            do_handshake_on_connect=False)
        return sock, address


class Server6(Server):
    address_family = socket.AF_INET6


class UnixServer(Server):
    address_family = socket.AF_UNIX


def main(port, timeout, certificate=None, path=None):
    if path:
        server = UnixServer(path, UnixHandler)
    elif port.startswith("6:"):
        server = Server6(("::1", int(port[2:])), Handler)
    else:
        server = Server(("127.0.0.1", int(port)), Handler)
    Handler.idle = float(timeout) or None
    if certificate:
        server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.context.load_cert_chain(certificate)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
