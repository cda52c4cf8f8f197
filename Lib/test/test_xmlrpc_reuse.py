"""xmlrpc.client's use of its connection: an idle one that ended is replaced,
an error leaves none that is unusable, and no call is sent twice (gh-53949)."""

import contextlib
import errno
import http.client
import io
import select
import socket
import threading
import unittest
import weakref
import xmlrpc.client
from test import http_peer, support
from test.http_peer import Peer, response, wait_readable
from unittest import mock
from xml.parsers.expat import ExpatError

try:
    import gzip
except ImportError:
    gzip = None

support.requires_working_socket(module=True)

TIMEOUT = response(b"", status=b"408 Request Timeout")
XML = b"Content-Type: text/xml"


def result(value, *headers):
    """Return the response to a call that returned *value*."""
    body = xmlrpc.client.dumps((value,), methodresponse=True,
                               allow_none=True).encode()
    return response(body, XML, *headers)


def call_of(received):
    """Return the (method, arguments) that a request calls."""
    args, method = xmlrpc.client.loads(received.body)
    return method, args


def serve(*values):
    """Return a script that answers one call after another."""
    def script(link):
        for value in values:
            if link.request() is None:
                return
            link.send(result(value))
    return script


class CannedResponse:
    """What tests of others return: it has only what was needed so far."""

    def __init__(self, body, status=200):
        self.body = io.BytesIO(body)
        self.status, self.reason, self.headers = status, "", {}

    def getheader(self, name, default=None):
        return default

    def getheaders(self):
        return []

    def read(self, size=-1):
        return self.body.read(size)


class CannedFile:
    """A response can be just this, if its status is 200."""

    status = 200

    def __init__(self, body):
        self.read = io.BytesIO(body).read


class CannedTests(unittest.TestCase):

    def call(self, canned):
        class Transport(xmlrpc.client.Transport):
            def send_request(self, host, handler, request_body, debug):
                connection = mock.Mock()
                connection.getresponse.return_value = canned
                return connection

        xmlrpc.client.ServerProxy("http://example.com/", Transport()).call()

    # Guard: a response need not be of http.client.
    def test_exceptions(self):
        fault = xmlrpc.client.dumps(xmlrpc.client.Fault(1, "x"),
                                    methodresponse=True).encode()
        for canned, exception in (
                (CannedResponse(fault), xmlrpc.client.Fault),
                (CannedFile(fault), xmlrpc.client.Fault),
                (CannedResponse(b"", 500), xmlrpc.client.ProtocolError),
                (CannedResponse(b"<bad"), ExpatError)):
            with self.subTest(exception), self.assertRaises(exception):
                self.call(canned)

    # Guard: there may be a connection behind it, that is to be used again.
    def test_known_length(self):
        class Response(CannedResponse):
            def getheader(self, name, default=None):
                return length if name == "content-length" else default

        for length, rest in ("4", b""), ("", b"oops"):
            canned = Response(b"oops", 500)
            with self.assertRaises(xmlrpc.client.ProtocolError):
                self.call(canned)
            self.assertEqual(canned.read(), rest)


def allow_time():
    """Let what a test needs to be received whole take its time."""
    return mock.patch.object(xmlrpc.client, "_DRAIN_TIME",
                             support.SHORT_TIMEOUT, create=True)


class XMLRPCTestCase(unittest.TestCase):

    tls = None

    def proxy(self, peer, transport=None, **kwargs):
        scheme = "http"
        if self.tls is not None:
            scheme = "https"
            kwargs["context"] = peer.client_context()
        proxy = xmlrpc.client.ServerProxy(
            f"{scheme}://{http_peer.HOST}:{peer.port}/RPC2",
            transport, **kwargs)
        self.addCleanup(proxy("close"))
        return proxy

    def peer(self, *scripts, **kwargs):
        return Peer(*scripts, tls=self.tls, **kwargs)

    def connection(self, proxy):
        return proxy("transport")._connection[1]

    def calls(self, peer):
        return [(number, *call_of(received))
                for number, received in peer.requests]


# What a server does with an idle connection that ends its use.
ENDS = {
    "FIN": lambda link: link.close(),
    "RST": lambda link: link.reset(),
    "408 and FIN": lambda link: (link.send(TIMEOUT), link.close()),
    "408": lambda link: link.send(TIMEOUT),
    "a response": lambda link: link.send(result("stray")),
}
TLS_ENDS = {
    "close_notify": lambda link: end_tls(link),
    "close_notify and FIN": lambda link: (end_tls(link), link.close()),
}


def end_tls(link):
    # The client may close the connection before this returns.
    with contextlib.suppress(OSError):
        link.end_tls()


# Guard: it is for http.client to replace it, and for Transport to let it.
@http_peer.over_tls
class IdleTests(XMLRPCTestCase):

    def ends(self):
        return (ENDS | TLS_ENDS if self.tls else ENDS).items()

    @contextlib.contextmanager
    def idle(self, act, **kwargs):
        """Provide (peer, proxy) after one call and *act*."""
        go_on = threading.Event()

        def script(link):
            link.request()
            link.send(result("first"))
            go_on.wait(support.SHORT_TIMEOUT)
            act(link)
            # Whatever arrives here is counted.
            if not link.reader.closed:
                link.request()

        with self.peer(script, serve("fresh", "again")) as peer:
            proxy = self.proxy(peer, **kwargs)
            self.assertEqual(proxy.first(), "first")
            go_on.set()
            wait_readable(self.connection(proxy).sock)
            yield peer, proxy

    def test_replaced_before_the_call_is_sent(self):
        for name, act in self.ends():
            with self.subTest(name), self.idle(act) as (peer, proxy):
                self.assertEqual(proxy.pay(10), "fresh")
                self.assertEqual(proxy.pay(11), "again")
                self.assertEqual(self.calls(peer), [
                    (0, "first", ()), (1, "pay", (10,)), (1, "pay", (11,))])

    def test_multicall(self):
        for name, act in self.ends():
            def answer(link):
                link.request()
                link.send(result([[1], [2]]))

            with self.subTest(name), self.idle(act) as (peer, proxy):
                peer.scripts = (None, answer)
                calls = xmlrpc.client.MultiCall(proxy)
                calls.one()
                calls.two()
                self.assertEqual(tuple(calls()), (1, 2))
                self.assertEqual([number for number, _ in peer.requests],
                                 [0, 1])

    def test_a_transport_is_shown_the_connection_it_knows(self):
        with self.idle(ENDS["FIN"]) as (peer, proxy):
            connection = self.connection(proxy)
            proxy.pay(10)
            self.assertIs(self.connection(proxy), connection)
            self.assertEqual(proxy("transport")._connection[0],
                             f"{http_peer.HOST}:{peer.port}")


@http_peer.over_tls
class SentOnceTests(XMLRPCTestCase):

    def hang_up(self, link):
        link.request()
        link.close()

    def cross(self, end):
        """Return a script whose *end* crosses the second call."""
        def script(link):
            link.request()
            link.send(result("first"))
            if link.request():
                end(link)
        return script

    def lost(self):
        # Over TLS, it depends on the version what that is.
        ends = [ConnectionError]
        if http_peer.ssl is not None:
            ends.append(http_peer.ssl.SSLEOFError)
        return self.assertRaises(tuple(ends))

    def check_fresh_connection(self, **kwargs):
        for name in "FIN", "RST":
            def script(link):
                link.request()
                ENDS[name](link)

            with (self.subTest(name),
                  self.peer(script, serve("twice")) as peer):
                proxy = self.proxy(peer, **kwargs)
                with self.lost():
                    proxy.pay(10)
                self.assertEqual(self.calls(peer), [(0, "pay", (10,))])
                # The transport is usable.
                self.assertEqual(proxy.pay(11), "twice")

    def test_fresh_connection(self):
        self.check_fresh_connection()

    def test_idempotent_on_a_fresh_connection(self):
        self.check_fresh_connection(idempotent=True)

    def test_reused_connection(self):
        for name in "FIN", "RST":
            with (self.subTest(name),
                  self.peer(self.cross(ENDS[name]), serve("twice")) as peer):
                proxy = self.proxy(peer)
                self.assertEqual(proxy.first(), "first")
                with self.lost():
                    proxy.pay(10)
                self.assertEqual(self.calls(peer), [
                    (0, "first", ()), (0, "pay", (10,))])
                self.assertEqual(proxy.pay(11), "twice")

    def test_replaced_connection(self):
        # That the one before it was used says nothing of this one.
        go_on = threading.Event()

        def first(link):
            link.request()
            link.send(result("first"))
            go_on.wait(support.SHORT_TIMEOUT)
            link.close()

        with self.peer(first, self.hang_up, serve("twice")) as peer:
            proxy = self.proxy(peer, idempotent=True)
            proxy.first()
            go_on.set()
            wait_readable(self.connection(proxy).sock)
            with self.lost():
                proxy.pay(10)
            self.assertEqual(self.calls(peer), [
                (0, "first", ()), (1, "pay", (10,))])

    def test_idempotent(self):
        for name in "FIN", "RST", "408 and FIN":
            with (self.subTest(name),
                  self.peer(self.cross(ENDS[name]), serve("again")) as peer):
                proxy = self.proxy(peer, idempotent=True)
                self.assertEqual(proxy.first(), "first")
                self.assertEqual(proxy.get(10), "again")
                self.assertEqual(self.calls(peer), [
                    (0, "first", ()), (0, "get", (10,)), (1, "get", (10,))])

    def check_answer_begun(self, end, exceptions, **kwargs):
        class Transport(xmlrpc.client.SafeTransport if self.tls else
                        xmlrpc.client.Transport):
            def parse_response(self, response):
                begun.set()
                return super().parse_response(response)

        def script(link):
            link.request()
            link.send(result("first"))
            link.request()
            begun.clear()
            link.send(result("x" * 1000)[:500])
            begun.wait(support.SHORT_TIMEOUT)
            end(link)

        begun = threading.Event()
        with self.peer(script, serve("twice")) as peer:
            if self.tls:
                kwargs["context"] = peer.client_context()
            proxy = self.proxy(peer, Transport(**kwargs))
            self.assertEqual(proxy.first(), "first")
            with self.assertRaises(exceptions):
                proxy.pay(10)
            self.assertEqual(len(peer.requests), 2)
            self.assertEqual(proxy.pay(11), "twice")

    def test_answer_begun_and_reset(self):
        self.check_answer_begun(ENDS["RST"], ConnectionResetError)

    def test_idempotent_but_answer_begun(self):
        self.check_answer_begun(ENDS["RST"], ConnectionResetError,
                                idempotent=True)

    # Guard: whoever notices it, it is no reason to send the call again.
    def test_answer_begun_and_cut_short(self):
        self.check_answer_begun(ENDS["FIN"],
                                (ExpatError, http.client.IncompleteRead))

    def test_idempotent_but_for_another_host(self):
        with (self.peer(serve("first", "second")) as used,
              self.peer(self.hang_up, serve("twice")) as peer):
            proxy = self.proxy(used, idempotent=True)
            proxy.first()
            proxy.second()
            self.addCleanup(self.connection(proxy).close)
            call = xmlrpc.client.dumps((10,), "pay").encode()
            with self.lost():
                proxy("transport").request(f"{http_peer.HOST}:{peer.port}",
                                           "/RPC2", call)
            self.assertEqual(self.calls(peer), [(0, "pay", (10,))])

    def test_idempotent_but_only_once(self):
        with self.peer(self.cross(ENDS["FIN"]), self.hang_up,
                       serve("three times")) as peer:
            proxy = self.proxy(peer, idempotent=True)
            proxy.first()
            with self.lost():
                proxy.get(10)
            self.assertEqual(len(peer.requests), 3)
            self.assertEqual(proxy.get(11), "three times")

    def test_idempotent_and_left_open(self):
        # After a 408 it is not for us to go on with that connection.
        def end(link):
            link.send(TIMEOUT)
            if link.request():
                link.send(result("same connection"))

        with self.peer(self.cross(end), serve("again")) as peer:
            proxy = self.proxy(peer, idempotent=True)
            proxy.first()
            self.assertEqual(proxy.get(10), "again")

    def test_idempotent_but_after_an_interim_response(self):
        def end(link):
            link.send(b"HTTP/1.1 102 Processing\r\n\r\n" + TIMEOUT)

        with self.peer(self.cross(end), serve("again")) as peer:
            proxy = self.proxy(peer, idempotent=True)
            proxy.first()
            with self.assertRaises(xmlrpc.client.ProtocolError):
                proxy.get(10)
            self.assertEqual(len(peer.requests), 2)

    def test_idempotent_but_refused(self):
        def end(link):
            link.send(response(b"", status=b"503 Service Unavailable"))
            link.request()

        with self.peer(self.cross(end), serve("again")) as peer:
            proxy = self.proxy(peer, idempotent=True)
            proxy.first()
            with self.assertRaises(xmlrpc.client.ProtocolError):
                proxy.get(10)
            self.assertEqual(len(peer.requests), 2)

    def test_idempotent_but_slow(self):
        def script(link):
            link.request()
            link.send(result("first"))
            link.request()
            link.wait_closed()

        with self.peer(script) as peer:
            proxy = self.proxy(peer, idempotent=True)
            proxy.first()
            self.connection(proxy).sock.settimeout(0.01)
            with self.assertRaises(TimeoutError):
                proxy.get(10)

    # Guard: without the promise that calls may repeat it is an error.
    def test_timeout_response(self):
        with self.peer(self.cross(ENDS["408 and FIN"]),
                       serve("again")) as peer:
            proxy = self.proxy(peer)
            proxy.first()
            with self.assertRaises(xmlrpc.client.ProtocolError) as cm:
                proxy.pay(10)
            self.assertEqual(cm.exception.errcode, 408)
            self.assertEqual(len(peer.requests), 2)

    def test_call_after_a_timeout_response(self):
        # That was sent before the call had arrived: its answer follows.
        def end(link):
            link.send(TIMEOUT)
            if link.request():
                link.send(result("of the call before"))

        with self.peer(self.cross(end), serve("its own")) as peer:
            proxy = self.proxy(peer)
            proxy.first()
            with self.assertRaises(xmlrpc.client.ProtocolError):
                proxy.pay(10)
            self.assertIsNone(self.connection(proxy))
            self.assertEqual(proxy.balance(), "its own")

    # Guard: one attempt to connect is enough.
    def test_refused(self):
        transport = xmlrpc.client.Transport()
        with Peer() as peer:
            pass
        proxy = xmlrpc.client.ServerProxy(
            f"http://{http_peer.HOST}:{peer.port}", transport)
        with (mock.patch.object(socket, "create_connection",
                                wraps=socket.create_connection) as connect,
              self.assertRaises(OSError)):
            proxy.pay(10)
        self.assertEqual(connect.call_count, 1)


@http_peer.over_tls
class ErrorResponseTests(XMLRPCTestCase):

    HEAD = b"HTTP/1.1 500 Oops\r\n"

    def check(self, send, connections):
        """Check what comes after an error response that *send* sends."""
        def script(link):
            link.request()
            send(link)
            while not link.reader.closed and link.request():
                link.send(result("good"))

        with self.peer(script, serve("good")) as peer:
            proxy = self.proxy(peer)
            with (allow_time() if connections == 1 else
                  contextlib.nullcontext(),
                  self.assertRaises(xmlrpc.client.ProtocolError) as cm):
                proxy.bad()
            self.assertEqual(cm.exception.errcode, 500)
            self.assertEqual(cm.exception.errmsg, "Oops")
            if connections == 1:
                self.assertIsNone(self.connection(proxy).sock.gettimeout())
            self.assertEqual(proxy.good(), "good")
            self.assertEqual(peer.accepted, connections)
            self.assertEqual(len(peer.requests), 2)
        return cm.exception

    # Guard: today it is read to its end.
    def test_content_length(self):
        def send(link):
            link.send(response(b"x" * 1000, b"X-Why: because",
                               status=b"500 Oops"))

        self.assertEqual(self.check(send, 1).headers["X-Why"], "because")

    # Guard: the end is known.
    def test_no_body(self):
        self.check(lambda link: link.send(response(status=b"500 Oops")), 1)

    # Guard: what has been received need not be read.
    def test_chunked(self):
        self.check(lambda link: link.send(
            self.HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
            b"4;a=b\r\noops\r\n0\r\nTrailer: x\r\n\r\n"), 1)

    def test_chunked_in_pieces(self):
        def send(link):
            link.send(self.HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r")
            # Whoever does not wait for the rest hangs up before that.
            select.select([link.sock], [], [], 0.3)
            for part in b"\noo", b"ps\r\n", b"0\r\n", b"\r\n":
                link.send(part)

        self.check(send, 1)

    # Guard: the connection ends with the response.
    def test_close_delimited(self):
        def send(link):
            link.send(self.HEAD + b"\r\noops")
            link.close()

        self.check(send, 2)

    def test_truncated(self):
        for head in b"Content-Length: 10\r\n\r\n", (
                b"Transfer-Encoding: chunked\r\n\r\n10\r\n"):
            def send(link):
                link.send(self.HEAD + head + b"oops")
                link.close()

            with self.subTest(head.decode()):
                self.check(send, 2)

    def check_size(self, size, connections):
        body = b"x" * size
        for head, end in ((b"Content-Length: %d\r\n\r\n" % size, b""),
                          (b"Transfer-Encoding: chunked\r\n\r\n%x\r\n"
                           % size, b"\r\n0\r\n\r\n")):
            def send(link):
                with contextlib.suppress(OSError):
                    link.send(self.HEAD + head)
                    link.send(body)
                    link.send(end)

            with self.subTest(head.decode()):
                self.check(send, connections)

    def test_large(self):
        self.check_size(200 << 10, 1)

    def test_too_large(self):
        # There is time enough for all of it.
        with allow_time():
            self.check_size(600 << 10, 2)

    def flood(self, head, part):
        """Return a script's send() of more than anybody should read."""
        def send(link):
            try:
                link.send(self.HEAD + head)
                for _ in range((32 << 20) // len(part)):
                    link.send(part)
            except OSError:     # the client has closed
                pass
            link.close()

        return send

    def test_endless(self):
        part = b"x" * (1 << 14)
        for head, part in (
                (b"\r\n", part),
                (b"Content-Length: 1000000000000\r\n\r\n", part),
                (b"Transfer-Encoding: chunked\r\n\r\n",
                 b"4000\r\n%s\r\n" % part),
                (b"Transfer-Encoding: chunked\r\n\r\n1;", part),
                (b"Transfer-Encoding: chunked\r\n\r\n0\r\n",
                 b"A: b\r\n" * 1000)):
            with self.subTest(head.decode(), part=part[:9].decode()):
                self.check(self.flood(head, part), 2)

    def test_never_arrives(self):
        # The server waits for the client, so ProtocolError must not wait.
        for head in (b"\r\n", b"Content-Length: 10\r\n\r\noops",
                     b"Transfer-Encoding: chunked\r\n\r\n4\r\noops",
                     b"Transfer-Encoding: chunked\r\n\r\n0\r\n"):
            hung_up = False

            def send(link):
                nonlocal hung_up
                link.send(self.HEAD + head)
                # Whoever waits for more is not to wait for ever.
                hung_up = bool(select.select([link.sock], [], [], 2)[0])
                link.close()

            with self.subTest(head.decode()):
                self.check(send, 2)
                self.assertTrue(hung_up)

    def test_trickles(self):
        # Each byte is in time for a timeout that begins with the last one.
        for head, part in ((b"Content-Length: 300\r\n\r\n", b"x"),
                           (b"Transfer-Encoding: chunked\r\n\r\n1;", b"x"),
                           (b"Transfer-Encoding: chunked\r\n\r\n",
                            b"1\r\nx\r\n")):
            hung_up = False

            def send(link):
                nonlocal hung_up
                try:
                    link.send(self.HEAD + head)
                    for _ in range(300):
                        if select.select([link.sock], [], [], 0.01)[0]:
                            hung_up = True
                            break
                        link.send(part)
                except OSError:
                    hung_up = True
                link.close()

            with self.subTest(head.decode(), part=part.decode()):
                self.check(send, 2)
                self.assertTrue(hung_up)

    # Guard: to receive the rest is not to trust what follows.
    def test_followed_by_stray_bytes(self):
        self.check(lambda link: link.send(
            response(b"oops", status=b"500 Oops") + result("stray")), 2)


class BadResultTestCase(XMLRPCTestCase):

    def check(self, send, exception, connections, transport=None):
        def script(link):
            link.request()
            send(link)
            while not link.reader.closed and link.request():
                link.send(result("good"))

        with self.peer(script, serve("good")) as peer:
            proxy = self.proxy(peer, transport)
            try:
                with allow_time():
                    proxy.bad()
                self.fail("it did not raise")
            except exception as exc:
                # It keeps the response alive by its traceback.
                kept = exc
            self.assertEqual(proxy.good(), "good")
            del kept
            self.assertEqual(peer.accepted, connections)
            self.assertEqual(len(peer.requests), 2)


@http_peer.over_tls
class BadResultTests(BadResultTestCase):

    # Guard: an unexpected exception closes the connection today.
    def test_no_xml(self):
        self.check(lambda link: link.send(response(b"oops")), ExpatError, 2)

    # Guard: so does one that is cut short.
    def test_truncated(self):
        def send(link):
            link.send(result("good")[:-5])
            link.close()

        self.check(send, (ExpatError, http.client.IncompleteRead), 2)

    # Guard: a Fault is a result as good as any.
    def test_fault(self):
        fault = xmlrpc.client.dumps(xmlrpc.client.Fault(1, "no")).encode()
        self.check(lambda link: link.send(response(fault)),
                   xmlrpc.client.Fault, 1)

    # Guard: compressed results, whole or not.
    @unittest.skipIf(gzip is None, "needs zlib")
    def test_gzip(self):
        good = gzip.compress(result("good").partition(b"\r\n\r\n")[2])
        field = b"Content-Encoding: gzip"

        def script(link):
            link.request()
            link.send(response(good, field))
            link.request()
            link.send(response(bad, field))

        for bad, exception in ((good[:-10], EOFError),
                               (b"no gzip", gzip.BadGzipFile)):
            with (self.subTest(exception),
                  self.peer(script, serve("good")) as peer):
                proxy = self.proxy(peer)
                self.assertEqual(proxy.a(), "good")
                with self.assertRaises(exception):
                    proxy.b()
                self.assertEqual(proxy.c(), "good")
                self.assertEqual(peer.accepted, 2)


def make_transport(**namespace):
    bases = xmlrpc.client.Transport,
    return type("Transport", bases, namespace)()


class InterruptedTests(BadResultTestCase):

    def test_fault_before_the_end(self):
        class Fault(xmlrpc.client.Fault):
            pass

        def parse_response(self, response):
            del type(self).parse_response
            response.read(1)
            raise Fault(1, "known from its beginning")

        self.check(lambda link: link.send(response(b"x" * 100_000)),
                   Fault, 1, make_transport(parse_response=parse_response))

    def test_interrupted(self):
        def parse_response(self, response):
            del type(self).parse_response
            response.read(1)
            raise KeyboardInterrupt

        self.check(lambda link: link.send(result("interrupted")),
                   KeyboardInterrupt, 2,
                   make_transport(parse_response=parse_response))

    def test_connection_kept_elsewhere(self):
        # close() does not know of it.
        def make_connection(self, host):
            if not hasattr(self, "mine"):
                self.mine = super(type(self), self).make_connection(host)
                self._connection = (None, None)
                test.addCleanup(self.mine.close)
            return self.mine

        def send(link):
            with contextlib.suppress(OSError):
                link.send(response(b"</a>" * 100_000))

        test = self
        self.check(send, ExpatError, 2,
                   make_transport(make_connection=make_connection))


class OneSendTests(XMLRPCTestCase):

    # Guard: http.client joins a small body with its head.
    def test_small_call(self):
        with self.peer(serve("a", "b")) as peer:
            proxy = self.proxy(peer)
            proxy.first()
            sent = []
            sendall = socket.socket.sendall

            def note(sock, data):
                sent.append(bytes(data))
                sendall(sock, data)

            with mock.patch("socket.socket.sendall", note):
                proxy.second("argument")
            sent = [data for data in sent if not data.startswith(b"HTTP/")]
            self.assertEqual(len(sent), 1, sent)
            self.assertIn(b"methodCall", sent[0])


class ReusedTests(XMLRPCTestCase):

    def test_what_the_connection_tells(self):
        with self.peer(serve("a", "b"), serve("c")) as peer:
            connection = peer.connect()
            told = []
            for close in False, False, True:
                if close:
                    connection.close()
                connection.request("POST", "/")
                told.append(connection._reused)
                connection.getresponse().read()
            self.assertEqual(told, [False, True, False])


class ForeignResponse:
    """A response that reads from its socket without a buffer."""

    began = None    # an event: some of its body has been read
    will_close = False
    left = 0

    def __init__(self, sock, debuglevel=0, method=None, url=None):
        self.fp = sock.makefile("rb", 0)

    def begin(self):
        self.status = int(self.fp.readline().split()[1])
        self.headers = http.client.parse_headers(self.fp)
        self.left = int(self.headers["Content-Length"])

    def getheader(self, name, default=None):
        return self.headers.get(name, default)

    def read(self, size):
        data = self.fp.read(min(size, self.left)) if self.left else b""
        self.left -= len(data)
        if self.began is not None:
            self.began.set()
        if not self.left:
            self.fp.close()
        return data

    def isclosed(self):
        return self.fp.closed

    def close(self):
        self.fp.close()


class UnixStreamHTTPConnection(http.client.HTTPConnection):
    # As supervisor's, which reaches its server by a path; here by TCP.
    def connect(self):
        self.sock = socket.create_connection(self.address)


# Guard: they work as they always have.
class SubclassTests(XMLRPCTestCase):
    """What subclasses of Transport override, or look at."""

    def idle_twice(self):
        """Return scripts: each connection takes one call, and then ends."""
        def script(link):
            link.request()
            link.send(result(link.number))
            self.go_on.acquire(timeout=support.SHORT_TIMEOUT)
            link.close()

        self.go_on = threading.Semaphore(0)
        return [script] * 3

    def check(self, transport, sock):
        """Check that an idle connection is replaced; *sock*() is in use."""
        with self.peer(*self.idle_twice()) as peer:
            transport.address = http_peer.HOST, peer.port
            proxy = self.proxy(peer, transport)
            for i in range(3):
                self.assertEqual(proxy.pay(i), i)
                self.go_on.release()
                if sock() is not None:
                    wait_readable(sock())
            self.assertEqual(self.calls(peer),
                             [(i, "pay", (i,)) for i in range(3)])
            proxy("close")()

    def test_make_connection_with_a_connect_of_its_own(self):
        class Transport(xmlrpc.client.Transport):
            def make_connection(self, host):
                if self._connection[0] != host:
                    connection = UnixStreamHTTPConnection("localhost")
                    connection.address = self.address
                    self._connection = host, connection
                return self._connection[1]

        transport = Transport()
        self.check(transport, lambda: transport._connection[1].sock)

    def test_make_connection_that_connects(self):
        # http.client cannot know that this socket can be replaced.
        class Transport(xmlrpc.client.Transport):
            def make_connection(self, host):
                if self._connection[0] != host:
                    connection = http.client.HTTPConnection("localhost")
                    connection.sock = socket.create_connection(self.address)
                    self._connection = host, connection
                return self._connection[1]

        transport = Transport()
        self.check(transport, lambda: transport._connection[1].sock)

    # Such a transport never had a connection to reuse.
    def test_make_connection_for_each_call(self):
        class Transport(xmlrpc.client.Transport):
            def __init__(self):
                super().__init__()
                self.made = []

            def make_connection(self, host):
                connection = UnixStreamHTTPConnection("localhost")
                connection.address = self.address
                self.made.append(connection)
                return connection

            def close(self):
                for connection in self.made:
                    connection.close()

        self.check(Transport(), lambda: None)

    def test_init_of_its_own(self):
        # Without Transport.__init__() there is no _connection, either.
        class Transport(xmlrpc.client.Transport):
            def __init__(self):
                self.connection = None

            def single_request(self, host, handler, body, verbose=False):
                if self.connection is None:
                    self.connection = http.client.HTTPConnection(host)
                self.connection.request("POST", handler, body)
                self.verbose = verbose
                self._use_datetime = self._use_builtin_types = False
                return self.parse_response(self.connection.getresponse())

            def close(self):
                self.connection.close()

        transport = Transport()
        self.check(transport, lambda: transport.connection.sock)

    # It overrides request() and close(), and uses the parser.
    def test_supervisor(self):
        class Transport(xmlrpc.client.Transport):
            connection = None

            def request(self, host, handler, body, verbose=False):
                if self.connection is None:
                    self.connection = http.client.HTTPConnection(host)
                self.connection.request("POST", handler, body, {
                    "Content-Type": "text/xml", "Accept": "text/xml"})
                response = self.connection.getresponse()
                data = response.read()
                parser, unmarshaller = self.getparser()
                parser.feed(data)
                parser.close()
                return unmarshaller.close()

            def close(self):
                if self.connection is not None:
                    self.connection.close()
                    self.connection = None

        transport = Transport()
        self.check(transport, lambda: transport.connection.sock)

    # It looks for half-closed sockets, and closes the transport.
    def test_ros(self):
        transport = xmlrpc.client.Transport()

        def sock():
            connection = transport._connection[1]
            if connection is not None and connection.sock is not None:
                wait_readable(connection.sock)
                transport.close()

        self.check(transport, sock)

    def test_timeout_assigned(self):
        class Transport(xmlrpc.client.Transport):
            def make_connection(self, host):
                connection = super().make_connection(host)
                connection.timeout = support.SHORT_TIMEOUT
                return connection

        transport = Transport()
        self.check(transport, lambda: transport._connection[1].sock)
        self.assertEqual(transport._connection, (None, None))

    def test_send_request_and_send_content(self):
        class Transport(xmlrpc.client.Transport):
            def send_request(self, host, handler, body, debug):
                connection = self.make_connection(host)
                connection.putrequest("POST", handler)
                connection.putheader("X-Mine", "1")
                self.send_content(connection, body)
                return connection

            def send_content(self, connection, body):
                connection.putheader("Content-Type", "text/xml")
                connection.putheader("Content-Length", str(len(body)))
                connection.endheaders()
                for i in range(0, len(body), 20):
                    connection.send(body[i:i + 20])

        transport = Transport()
        self.check(transport, lambda: transport._connection[1].sock)

    def test_single_request_without_a_drain(self):
        # As many have copied it: it leaves a chunked error response unread.
        class Transport(xmlrpc.client.Transport):
            def single_request(self, host, handler, body, verbose=False):
                connection = self.send_request(host, handler, body, verbose)
                response = connection.getresponse()
                self.verbose = verbose
                if response.status == 200:
                    return self.parse_response(response)
                raise xmlrpc.client.ProtocolError(
                    host + handler, response.status, response.reason, {})

        def script(link):
            link.request()
            link.send(b"HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n"
                      b"\r\n4\r\noops\r\n0\r\n\r\n")
            link.request()
            link.send(result("good"))

        with self.peer(script, serve("good")) as peer:
            proxy = self.proxy(peer, Transport())
            with self.assertRaises(xmlrpc.client.ProtocolError):
                proxy.bad()
            self.assertEqual(proxy.good(), "good")
            self.assertEqual(len(peer.requests), 2)

    def test_parse_response(self):
        class Transport(xmlrpc.client.Transport):
            def parse_response(self, response):
                return response.getheader("X-Answer"), response.read()

        def script(link):
            link.answer(b"raw", b"X-Answer: 1")
            link.answer(b"raw", b"X-Answer: 2")

        with self.peer(script) as peer:
            proxy = self.proxy(peer, Transport())
            self.assertEqual(proxy.one(), ("1", b"raw"))
            self.assertEqual(proxy.two(), ("2", b"raw"))

    # Whoever patches http.client sees the same calls.
    def test_mocked_connection(self):
        with mock.patch("http.client.HTTPConnection") as cls:
            connection = cls.return_value
            connection.getresponse.return_value.status = 500
            connection.getresponse.return_value.reason = "Oops"
            connection.getresponse.return_value.getheaders.return_value = {}
            proxy = xmlrpc.client.ServerProxy("http://localhost")
            for i in range(2):
                with self.assertRaises(xmlrpc.client.ProtocolError):
                    proxy.bad()
            self.assertEqual(connection.endheaders.call_count, 2)
            connection.getresponse.side_effect = ConnectionResetError
            proxy("transport")._idempotent = True
            with self.assertRaises(ConnectionResetError):
                proxy.bad()
            self.assertEqual(connection.endheaders.call_count, 3)


class SubclassLostTests(XMLRPCTestCase):

    def test_make_connection_for_each_call_is_lost(self):
        class Transport(xmlrpc.client.Transport):
            def make_connection(self, host):
                return http.client.HTTPConnection(host)

        def script(link):
            link.request()
            link.close()

        with self.peer(script, serve("twice")) as peer:
            proxy = self.proxy(peer, Transport(idempotent=True))
            with self.assertRaises(http.client.RemoteDisconnected):
                proxy.pay(10)
            self.assertEqual(len(peer.requests), 1)

    def test_single_request_is_lost(self):
        # It need not close anything: request() does before it sends again.
        class Transport(xmlrpc.client.Transport):
            def single_request(self, host, handler, body, verbose=False):
                connection = self.send_request(host, handler, body, verbose)
                self.verbose = verbose
                return self.parse_response(connection.getresponse())

        def script(link):
            link.request()
            link.send(result("first"))
            link.request()
            link.close()

        for idempotent in False, True:
            with (self.subTest(idempotent=idempotent),
                  self.peer(script, serve("again")) as peer):
                proxy = self.proxy(peer, Transport(idempotent=idempotent))
                proxy.first()
                if idempotent:
                    self.assertEqual(proxy.get(10), "again")
                else:
                    with self.assertRaises(http.client.RemoteDisconnected):
                        proxy.pay(10)
                self.assertEqual(len(peer.requests), 2 + idempotent)

    def check_failover(self, method):
        """Check a transport whose *method* turns to another host."""
        class Transport(xmlrpc.client.Transport):
            pass

        def failing_over(transport, host, *args):
            inherited = getattr(super(Transport, transport), method)
            try:
                return inherited(host, *args)
            except OSError:
                return inherited(f"{http_peer.HOST}:{other.port}", *args)

        def once(link):
            link.request()
            link.send(result("first"))
            link.close()

        def lose(link):
            link.request()
            link.close()

        setattr(Transport, method, failing_over)
        with Peer(lose, lose) as other:
            with Peer(once) as peer:
                proxy = self.proxy(peer, Transport())
                proxy.first()
                wait_readable(self.connection(proxy).sock)
            # The idle connection ended, its server is gone; then the other
            # one takes the call, and ends.
            with self.assertRaises(http.client.RemoteDisconnected):
                proxy.pay(10)
            self.assertEqual(self.calls(other), [(0, "pay", (10,))])

    def test_single_request_that_fails_over(self):
        self.check_failover("single_request")

    def test_send_request_that_fails_over(self):
        self.check_failover("send_request")

    def test_send_request_that_fails_elsewhere(self):
        # Nothing was sent over the idle connection, but over the other one.
        class Breaking(http.client.HTTPConnection):
            def endheaders(self, body):
                super().endheaders(body)
                sent.append(self)
                raise BrokenPipeError(errno.EPIPE, "Broken pipe")

        class Transport(xmlrpc.client.Transport):
            def send_request(self, host, *args):
                try:
                    return super().send_request(host, *args)
                except OSError:
                    self._connection = other, Breaking(other)
                    return super().send_request(other, *args)

        def once(link):
            link.request()
            link.send(result("first"))
            link.close()

        sent = []
        with Peer(*[lambda link: link.request()] * 2) as last:
            other = f"{http_peer.HOST}:{last.port}"
            with Peer(once) as peer:
                proxy = self.proxy(peer, Transport())
                proxy.first()
                wait_readable(self.connection(proxy).sock)
            with self.assertRaises(BrokenPipeError):
                proxy.pay(10)
            self.assertEqual(len(sent), 1)

    def check_foreign(self, make_connection):
        """Check a transport whose responses are ForeignResponse's."""
        class Transport(xmlrpc.client.Transport):
            def make_connection(self, host):
                if self._connection[0] != host:
                    self._connection = host, make_connection(host)
                return self._connection[1]

        def script(link):
            link.request()
            link.send(result("first"))
            link.request()
            link.send(result("x" * 3000)[:1500])
            began.wait(support.SHORT_TIMEOUT)
            link.reset()

        began = threading.Event()
        with self.peer(script, serve("twice")) as peer:
            proxy = self.proxy(peer, Transport(idempotent=True))
            self.assertEqual(proxy.first(), "first")
            with (mock.patch.object(ForeignResponse, "began", began),
                  self.assertRaises(ConnectionResetError)):
                proxy.get(10)
            self.assertEqual(len(peer.requests), 2)

    def test_idempotent_but_foreign_answer_begun(self):
        def make_connection(host):
            connection = http.client.HTTPConnection(host)
            connection.response_class = ForeignResponse
            return connection

        self.check_foreign(make_connection)

    def test_idempotent_but_unseen_answer_begun(self):
        # http.client has not seen any of it, and of the answers before.
        class Connection(http.client.HTTPConnection):
            def getresponse(self):
                response = ForeignResponse(self.sock)
                response.begin()
                self._HTTPConnection__state = "Idle"
                return response

        self.check_foreign(Connection)

    def test_answer_begun_before_a_single_request_of_its_own(self):
        # As many have copied it; http.client alone knows what has come.
        class Transport(xmlrpc.client.Transport):
            def make_connection(self, host):
                connection = super().make_connection(host)
                connection.response_class = ForeignResponse
                return connection

            def single_request(self, host, handler, body, verbose=False):
                connection = self.send_request(host, handler, body, verbose)
                self.verbose = verbose
                return self.parse_response(connection.getresponse())

        def script(link):
            link.request()
            link.send(result("first"))
            link.request()
            link.send(result("x" * 3000)[:1500])
            began.wait(support.SHORT_TIMEOUT)
            link.reset()

        began = threading.Event()
        with self.peer(script, serve("twice")) as peer:
            proxy = self.proxy(peer, Transport(idempotent=True))
            proxy.first()
            with (mock.patch.object(ForeignResponse, "began", began),
                  self.assertRaises(ConnectionResetError)):
                proxy.get(10)
            self.assertEqual(len(peer.requests), 2)

    # Guard: a connection that a subclass drops is not kept alive.
    def test_dropped_connection(self):
        with self.peer(serve("first", "second")) as peer:
            transport = xmlrpc.client.Transport()
            proxy = self.proxy(peer, transport)
            proxy.first()
            proxy.second()
            transport._connection[1].close()
            dropped = weakref.ref(transport._connection[1])
            transport._connection = None, None
            support.gc_collect()
            self.assertIsNone(dropped())

    # Guard: what has happened is more telling.
    def test_close_that_fails(self):
        class Transport(xmlrpc.client.Transport):
            def __init__(self):
                pass

            def make_connection(self, host):
                raise KeyboardInterrupt

        proxy = xmlrpc.client.ServerProxy("http://localhost/", Transport())
        with self.assertRaises(KeyboardInterrupt):
            proxy.call()

    def test_oddities(self):
        # What else a subclass may have there, and raise.
        class Frozen:
            __slots__ = ()

            def __setattr__(self, name, value):
                raise RuntimeError

        class Error(xmlrpc.client.ProtocolError):
            def __init__(self):
                pass

        class Transport(xmlrpc.client.Transport):
            def single_request(self, *args):
                raise Error

        transport = Transport(idempotent=True)
        for connection in Frozen(), mock.Mock():
            transport._connection = "localhost", connection
            # It has served another call, if it can say so.
            type(connection)._reused = True
            with self.assertRaises(Error):
                transport.request("localhost", "/", b"")

    def test_diamond(self):
        # A base class may not know what SafeTransport has learnt.
        class Timeout(xmlrpc.client.Transport):
            def __init__(self, use_datetime=False, use_builtin_types=False,
                         *, headers=()):
                super().__init__(use_datetime, use_builtin_types,
                                 headers=headers)

        class Safe(xmlrpc.client.SafeTransport, Timeout):
            pass

        for idempotent in False, True:
            transport = Safe(headers=[("a", "b")], idempotent=idempotent)
            self.assertEqual(transport._headers, [("a", "b")])
            self.assertEqual(transport._idempotent, idempotent)


@unittest.skipUnless(http_peer.ssl, "needs the ssl module")
class SafeTransportTests(XMLRPCTestCase):

    tls = http_peer.ssl and http_peer.ssl.TLSVersion.TLSv1_3

    def test_keywords(self):
        def script(link):
            link.request()
            link.send(result("first"))
            link.request()
            link.close()

        class Transport(xmlrpc.client.SafeTransport):
            def __init__(self, context):
                super().__init__(use_datetime=True, headers=[("X-A", "b")],
                                 context=context, idempotent=True)

        with self.peer(script, serve("again")) as peer:
            context = peer.client_context()
            proxy = xmlrpc.client.ServerProxy(
                f"https://{http_peer.HOST}:{peer.port}", Transport(context))
            with proxy:
                self.assertEqual(proxy.first(), "first")
                self.assertEqual(proxy.get(), "again")
            self.assertEqual(peer.requests[2][1].headers["X-A"], "b")

    def check_end_of_tls(self, exception):
        """Check what comes of *exception*, raised by a socket."""
        class Socket(http_peer.ssl.SSLSocket):
            def sendall(self, data):
                if self is lost and method == "sendall":
                    raise exception("raised by a test")
                return super().sendall(data)

            def recv_into(self, *args):
                if self is lost and method == "recv_into":
                    raise exception("raised by a test")
                return super().recv_into(*args)

        def script(link):
            link.request()
            link.send(result("first"))
            link.wait_closed()

        for method in "sendall", "recv_into":
            for idempotent in False, True:
                lost = None
                with (self.subTest(method, idempotent=idempotent),
                      self.peer(script, serve("again")) as peer):
                    context = peer.client_context()
                    context.sslsocket_class = Socket
                    proxy = self.proxy(peer, xmlrpc.client.SafeTransport(
                        context=context, idempotent=idempotent))
                    self.assertEqual(proxy.first(), "first")
                    lost = self.connection(proxy).sock
                    if idempotent:
                        self.assertEqual(proxy.get(10), "again")
                    else:
                        with self.assertRaises(exception):
                            proxy.pay(10)

    def test_end_of_file(self):
        self.check_end_of_tls(http_peer.ssl.SSLEOFError)

    def test_end_of_tls(self):
        self.check_end_of_tls(http_peer.ssl.SSLZeroReturnError)

    # Guard: make_connection() takes a (host, x509) tuple.
    def test_host_with_certificate(self):
        with self.peer(serve("first")) as peer:
            transport = xmlrpc.client.SafeTransport(
                context=peer.client_context())
            body = xmlrpc.client.dumps((), "first").encode()
            host = f"{http_peer.HOST}:{peer.port}", {}
            with contextlib.closing(transport):
                connection = transport.send_request(host, "/", body, False)
                self.assertIs(transport._connection[1], connection)
                self.assertEqual(connection.getresponse().status, 200)


@support.requires_subprocess()
class OtherModulesTests(unittest.TestCase):
    """The same tests where other modules are not what they usually are."""

    def test_without_the_ssl_module(self):
        http_peer.run_without_ssl(
            "test.test_xmlrpc_reuse", "IdleTests", "SentOnceTests",
            "ErrorResponseTests")


if __name__ == "__main__":
    unittest.main()
