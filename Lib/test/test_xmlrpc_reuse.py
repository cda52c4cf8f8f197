"""Tests of the connection of xmlrpc.client: a call is sent at most once."""

import http.client
import socket
import threading
import unittest
import xmlrpc.client
from test import http_peer, support
from test.http_peer import (HOST, Link, Peer, ending, ending_idle, flood,
                            response, sending, wait_readable)

OOPS = b"HTTP/1.1 500 Oops\r\n"
CHUNKED = OOPS + b"Transfer-Encoding: chunked\r\n\r\n"


def result(value):
    """Return the response to a call that returned *value*."""
    return response(xmlrpc.client.dumps((value,),
                                        methodresponse=True).encode())


def answer(link):
    """Answer every call by the number of its connection."""
    while link.request():
        link.send(result(link.number))


class XMLRPCTestCase(unittest.TestCase):

    tls = None

    def peer(self, *scripts):
        return Peer(*scripts, tls=self.tls)

    def proxy(self, peer, transport=None):
        scheme, kwargs = "http", {}
        if self.tls is not None:
            scheme, kwargs = "https", {"context": peer.client_context()}
        proxy = xmlrpc.client.ServerProxy(
            f"{scheme}://{HOST}:{peer.port}/RPC2", transport, **kwargs)
        self.addCleanup(proxy("close"))
        return proxy

    def calls(self, peer):
        """Return (number of the connection, method) of each call."""
        return [(number, xmlrpc.client.loads(request.body)[1])
                for number, request in peer.requests]


@http_peer.over_tls
class SentOnceTests(XMLRPCTestCase):

    def test_no_response(self):
        for end in Link.close, Link.reset:
            for script, calls in (
                    (ending(end=end), []),
                    (ending(result(0), end=end), [(0, "first")])):
                with (self.subTest(end=end, calls=calls),
                      self.peer(script, answer) as peer):
                    proxy = self.proxy(peer)
                    if calls:
                        proxy.first()
                    with self.assertRaises(http.client.RemoteDisconnected):
                        proxy.pay()
                    self.assertEqual(self.calls(peer), calls + [(0, "pay")])
                    self.assertEqual(proxy.next(), 1)

    def test_response_cut(self):
        data = result("x" * 100_000)[:-10_000]
        begun = threading.Event()

        class Transport(xmlrpc.client.SafeTransport if self.tls
                        else xmlrpc.client.Transport):
            def parse_response(self, response):
                begun.set()
                return super().parse_response(response)

        for end in Link.close, Link.reset:
            def cut(link):
                begun.clear()
                link.send(data)
                begun.wait(support.SHORT_TIMEOUT)
                end(link)

            with (self.subTest(end),
                  self.peer(ending(result(0), end=cut), answer) as peer):
                kwargs = {"context": peer.client_context()} if self.tls else {}
                proxy = self.proxy(peer, Transport(**kwargs))
                proxy.first()
                with self.assertRaises((OSError, http.client.IncompleteRead)):
                    proxy.pay()
                self.assertEqual(self.calls(peer), [(0, "first"), (0, "pay")])
                self.assertEqual(proxy.next(), 1)


# Guard: http.client replaces an idle connection that has ended.
@http_peer.over_tls
class IdleTests(XMLRPCTestCase):

    def test_idle_connection_is_replaced(self):
        for name, end in http_peer.idle_ends(self.tls).items():
            script, go_on = ending_idle(result(0), end)
            with self.subTest(name), self.peer(script, answer) as peer:
                proxy = self.proxy(peer)
                self.assertEqual(proxy.first(), 0)
                connection = proxy("transport").make_connection(
                    f"{HOST}:{peer.port}")
                go_on()
                wait_readable(connection.sock)
                self.assertEqual(proxy.pay(), 1)
                self.assertEqual(proxy.pay(), 1)
                self.assertEqual(self.calls(peer), [
                    (0, "first"), (1, "pay"), (1, "pay")])


# An error response, and whether its connection is used again.
ERRORS = {
    "Content-Length": (response(b"x" * 1000, status=b"500 Oops"), True),
    "chunks": (CHUNKED + b"4;a=b\r\noops\r\n0\r\nTrailer: x\r\n\r\n", True),
    "beginning of a chunk": (CHUNKED + b"4\r\noo", False),
    "no last chunk": (CHUNKED + b"4\r\noops\r\n", False),
    "malformed chunk": (CHUNKED + b"oops\r\n", False),
    "unknown length": (OOPS + b"\r\noops", False),
    "too long": (response(b"x" * 1_000_000, status=b"500 Oops"), False),
    "204": (b"HTTP/1.1 204 Oops\r\n\r\n", True),
    "304": (b"HTTP/1.1 304 Oops\r\nContent-Length: 4\r\n\r\n", True),
    "101": (b"HTTP/1.1 101 Oops\r\nUpgrade: x\r\n\r\noops", False),
    "HTTP/1.0": (b"HTTP/1.0 500 Oops\r\n\r\noops", False),
    # The response to the call can follow.
    "408": (response(b"oops", status=b"408 Oops"), False),
}


@http_peer.over_tls
class ErrorResponseTests(XMLRPCTestCase):

    def check(self, end, is_kept):
        with self.peer(ending(end=end), answer) as peer:
            proxy = self.proxy(peer)
            try:
                proxy.bad()
            except xmlrpc.client.ProtocolError as exc:
                error = exc     # with its traceback, and the response there
            self.assertEqual(error.errmsg, "Oops")
            # The next call has no need to wait for the server.
            self.assertEqual(proxy.good(), 0 if is_kept else 1)
            self.assertEqual([method for _, method in self.calls(peer)],
                             ["bad", "good"])

    def test_proxy_is_usable_after_error_response(self):
        for name, (data, is_kept) in ERRORS.items():
            with self.subTest(name):
                self.check(lambda link: (link.send(data), answer(link)),
                           is_kept)

    def test_endless_error_response(self):
        for head, part in ((OOPS + b"\r\n", b"x" * 1000),
                           (CHUNKED, b"3e8\r\n%b\r\n" % (b"x" * 1000)),
                           (CHUNKED + b"0\r\n", b"A: b\r\n" * 100)):
            with self.subTest(head=head):
                self.check(lambda link: flood(link, head, part), False)


class ResultTests(XMLRPCTestCase):

    def test_rest_of_error_response(self):
        def check_not_awaited(link):
            if not raised.wait(support.LOOPBACK_TIMEOUT):
                link.close()
                raise AssertionError("the client waits for the rest")

        length = b"Content-Length: 4"
        for fields, rest, number in (
                (length, lambda link: (link.send(b"oops"), answer(link)), 0),
                (length, Link.close, 1),
                (length, Link.reset, 1),
                (b"Connection: close\r\n" + length, check_not_awaited, 1),
                (length, check_not_awaited, 1),
                (b"Content-Length: x", check_not_awaited, 1),
                (b"Transfer-Encoding: chunked", check_not_awaited, 1)):
            received, raised = threading.Event(), threading.Event()

            def fail(link):
                link.send(OOPS + fields + b"\r\n\r\n")
                received.wait(support.SHORT_TIMEOUT)
                rest(link)

            def getresponse():
                response = type(connection).getresponse(connection)
                received.set()
                return response

            with (self.subTest(fields=fields, rest=rest),
                  self.peer(ending(result(0), end=fail), answer) as peer):
                proxy = self.proxy(peer)
                proxy.first()
                connection = proxy("transport").make_connection(
                    f"{HOST}:{peer.port}")
                connection.getresponse = getresponse
                with self.assertRaises(xmlrpc.client.ProtocolError):
                    proxy.bad()
                raised.set()
                self.assertEqual(proxy.good(), number)

    # Guard: http.client does not use that connection again.
    def test_interrupt(self):
        class Transport(xmlrpc.client.Transport):
            calls = 0

            def parse_response(self, response):
                self.calls += 1
                if self.calls == 2:
                    raise KeyboardInterrupt
                return super().parse_response(response)

        script = sending(result(0), result("interrupted"), end=answer)
        with self.peer(script, answer) as peer:
            proxy = self.proxy(peer, Transport())
            proxy.first()
            with self.assertRaises(KeyboardInterrupt):
                proxy.bad()
            self.assertEqual(proxy.good(), 1)


# Guard: subclasses of Transport work as before.
class SubclassTests(XMLRPCTestCase):

    def check_idle_close(self, transport, get_socket):
        script, go_on = ending_idle(result(0))
        with self.peer(script, answer) as peer:
            transport.port = peer.port
            proxy = self.proxy(peer, transport)
            self.assertEqual(proxy.first(), 0)
            go_on()
            wait_readable(get_socket())
            self.assertEqual(proxy.pay(), 1)
            self.assertEqual(self.calls(peer), [(0, "first"), (1, "pay")])
            proxy("close")()

    # Supervisor overrides request() and close(), and uses the parser.
    def test_supervisor(self):
        class UnixStreamHTTPConnection(http.client.HTTPConnection):
            def connect(self):
                self.sock = socket.create_connection((HOST, transport.port))

        class Transport(xmlrpc.client.Transport):
            connection = None

            def __init__(self):
                pass

            def request(self, host, handler, body, verbose=False):
                if self.connection is None:
                    self.connection = UnixStreamHTTPConnection("localhost")
                self.connection.request("POST", handler, body, {
                    "Content-Type": "text/xml", "Accept": "text/xml"})
                data = self.connection.getresponse().read()
                parser, unmarshaller = xmlrpc.client.getparser()
                parser.feed(data)
                parser.close()
                return unmarshaller.close()

            def close(self):
                if self.connection is not None:
                    self.connection.close()
                    self.connection = None

        transport = Transport()
        self.check_idle_close(transport, lambda: transport.connection.sock)

    def test_socket_that_was_assigned(self):
        class Transport(xmlrpc.client.Transport):
            def make_connection(self, host):
                if self._connection[0] is None:
                    connection = http.client.HTTPConnection(host)
                    connection.sock = socket.create_connection(
                        (HOST, self.port))
                    self._connection = host, connection
                return self._connection[1]

        transport = Transport()
        self.check_idle_close(
            transport, lambda: transport.make_connection(HOST).sock)

    # ROS and others have a copy of single_request() that reads no errors.
    def test_single_request(self):
        class Transport(xmlrpc.client.Transport):
            def single_request(self, host, handler, body, verbose=False):
                connection = self.send_request(host, handler, body, verbose)
                response = connection.getresponse()
                if response.status == 200:
                    self.verbose = verbose
                    return self.parse_response(response)
                raise xmlrpc.client.ProtocolError(
                    host + handler, response.status, response.reason, {})

        script = sending(result(0), CHUNKED + b"4\r\noo")
        with self.peer(script, answer) as peer:
            proxy = self.proxy(peer, Transport())
            proxy.first()
            with self.assertRaises(xmlrpc.client.ProtocolError):
                proxy.bad()
            self.assertEqual(proxy.good(), 1)


if __name__ == "__main__":
    unittest.main()
