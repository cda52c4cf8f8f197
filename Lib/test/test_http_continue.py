"""HTTPConnection.continue_timeout: "Expect: 100-continue" (gh-42550)."""

import contextlib
import functools
import http.client
import io
import itertools
import socket
import threading
import unittest
import urllib.error
import urllib.request
import xmlrpc.client
from http import _reader
from test import http_peer, support
from test.http_peer import Peer, response
from unittest import mock

support.requires_working_socket(module=True)

EXPECT = {"Expect": "100-continue"}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"
BODY = b"body" * 5000

# What to send, and what else the request's head has to say.
BODIES = {
    "bytes": (lambda: BODY, {}),
    "a few bytes": (lambda: BODY[:10], {}),
    "array": (lambda: bytearray(BODY), {}),
    "str": (lambda: BODY.decode(), {}),
    "file": (lambda: io.BytesIO(BODY), {"Content-Length": str(len(BODY))}),
    "chunks of a file": (lambda: io.BytesIO(BODY), {}),
    "iterable": (lambda: iter([BODY[:5], BODY[5:]]),
                 {"Content-Length": str(len(BODY))}),
    "chunks": (lambda: iter([BODY[:5], BODY[5:]]), {}),
}


def content(body):
    """Return all of a body of BODIES that has not been read."""
    if hasattr(body, "read"):
        return body.read()
    if isinstance(body, str):
        return body.encode()
    return b"".join(body) if hasattr(body, "__next__") else bytes(body)


def head(link):
    """Receive the head of a request, and nothing else; return its fields,
    or None if the client has hung up."""
    try:
        if not link.reader.readline():
            return None
        return http.client.parse_headers(link.reader)
    except OSError:
        return None


def rest(link, fields):
    """Receive the body of a request, of which the head is known."""
    if fields.get("Transfer-Encoding"):
        return link._chunks()
    return link.reader.read(int(fields["Content-Length"]))


class ContinueTestCase(unittest.TestCase):

    tls = None

    def setUp(self):
        # What the client does: "send", or "wait" for the server.
        self.steps = []
        is_ready = _reader.is_ready

        def noting_is_ready(sock, timeout, to_write=False):
            self.steps.append("wait")
            return is_ready(sock, timeout, to_write)

        self.enterContext(mock.patch("http._reader.is_ready",
                                     noting_is_ready))

    def connect(self, *scripts, timeout=support.SHORT_TIMEOUT, tickets=0,
                **kwargs):
        self.peer = self.enterContext(Peer(*scripts, tls=self.tls,
                                           tickets=tickets))
        conn = self.peer.connect(**kwargs)
        conn.continue_timeout = timeout
        self.watch(conn)
        return conn

    def watch(self, conn):
        send = conn.send

        def noting_send(data):
            self.steps.append("send")
            send(data)

        conn.send = noting_send

    def check_steps(self, *expected):
        """Check what the client did since the last check, but for the look
        at an idle connection before a request."""
        steps = [step for step, _ in itertools.groupby(self.steps)]
        if steps[0] == "wait":
            del steps[0]
        self.assertEqual(steps, [*expected])
        self.steps.clear()

    def put_by_hand(self, conn):
        conn.putrequest("PUT", "/")
        conn.putheader("Content-Length", "10")
        conn.putheader("Expect", "100-continue")
        conn.endheaders()

    def check_good(self, conn):
        self.assertEqual(conn.getresponse().read(), b"good")

    def check_fresh(self, conn):
        """Check that the next request goes over another connection, whose
        script is fresh()."""
        conn.request("GET", "/")
        self.assertEqual(conn.getresponse().read(), b"fresh")

    # Scripts.

    def fresh(self, link):
        link.answer(b"fresh")

    def whole(self, link):
        """Answer whole requests."""
        while link.answer(b"good") is not None:
            pass

    def say(self, *pieces, after=b""):
        """Return a script that says *pieces* to each head, and *after*
        before the response.

        In self.early it notes how often the client has sent something by
        then, and in self.received the bodies.
        """
        received = self.received = []
        early = self.early = []

        def script(link):
            while (fields := head(link)) is not None:
                early.append(self.steps.count("send"))
                for piece in pieces:
                    link.send(piece)
                received.append(rest(link, fields))
                link.send(after + response(b"good"))

        return script

    def refuse(self, answer):
        """Return a script that says *answer* to a head; self.received is
        what comes after that."""
        received = self.received = []

        def script(link):
            head(link)
            link.send(answer)
            received.append(link.wait_closed())

        return script


@http_peer.over_tls
class WantedTests(ContinueTestCase):

    def check(self, *pieces, after=b""):
        """Check that each body is sent after *pieces*, and not before."""
        for name, (body, fields) in BODIES.items():
            with self.subTest(name):
                conn = self.connect(self.say(*pieces, after=after))
                for _ in range(2):
                    conn.request("PUT", "/", body(), headers=fields | EXPECT)
                    self.assertEqual(self.early[-1], 1)
                    self.check_good(conn)
                    self.check_steps("send", "wait", "send")
                self.assertEqual(self.received, [content(body())] * 2)
                self.assertEqual(self.peer.accepted, 1)
                conn.close()

    def test_continue(self):
        self.check(CONTINUE)

    def test_with_fields(self):
        self.check(b"HTTP/1.1 100 Go\r\nX: y\r\n\r\n")

    def test_line_ends(self):
        self.check(b"HTTP/1.1 100\n\n")

    def test_what_is_no_grammar_but_understood(self):
        self.check(b"HTTP/1.1  100 Continue\r\n\r\n")
        self.check(b"HTTP/1.1\t0100\xa0Continue\r\n\r\n")

    def test_of_an_old_server(self):
        self.check(b"HTTP/1.0 100 Continue\r\n\r\n")

    def test_after_other_interim_responses(self):
        self.check(PROCESSING + b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
                   CONTINUE)

    def test_before_other_interim_responses(self):
        self.check(CONTINUE, after=b"HTTP/1.1 103 Early Hints\r\n\r\n"
                                   + CONTINUE)

    def test_in_pieces(self):
        both = PROCESSING + CONTINUE
        self.check(*[both[at:at + 1] for at in range(len(both))])

    def test_sent_by_hand(self):
        conn = self.connect(self.say(CONTINUE))
        self.put_by_hand(conn)
        self.check_steps("send", "wait")
        conn.send(b"01234")
        conn.send(b"56789")
        self.check_good(conn)
        self.assertEqual(self.received, [b"0123456789"])

    def test_chunks_sent_by_hand(self):
        conn = self.connect(self.say(CONTINUE))
        conn.putrequest("PUT", "/")
        conn.putheader("Transfer-Encoding", "chunked")
        conn.putheader("Expect", "100-continue")
        conn.endheaders()
        self.check_steps("send", "wait")
        conn.send(b"5\r\n01234\r\n")
        conn.send(b"0\r\n\r\n")
        self.check_good(conn)
        self.assertEqual(self.received, [b"01234"])

    def test_ways_to_say_it(self):
        for value in ("100-Continue", "100-Continue, x", "x,100-continue",
                      "\t100-continue "):
            with self.subTest(value=value):
                conn = self.connect(self.say(CONTINUE))
                conn.request("PUT", "/", BODY, headers={"expect": value})
                self.check_good(conn)
                self.check_steps("send", "wait", "send")

    def test_session_tickets(self):
        # They come with or before the 100, and say nothing about the body.
        conn = self.connect(self.say(PROCESSING, CONTINUE), tickets=2)
        for _ in range(2):
            conn.request("PUT", "/", BODY, headers=EXPECT)
            self.assertEqual(self.early[-1], 1)
            self.check_good(conn)
            self.check_steps("send", "wait", "send")
        self.assertEqual(self.received, [BODY, BODY])

    def test_a_connection_that_had_ended(self):
        # Another is opened before anything is sent, and it waits, too.
        def script(link):
            link.answer(b"good")
            link.close()

        conn = self.connect(script, self.say(CONTINUE))
        conn.request("GET", "/")
        self.check_good(conn)
        http_peer.wait_readable(conn.sock)
        self.steps.clear()
        conn.request("PUT", "/", io.BytesIO(BODY), headers=EXPECT)
        self.assertEqual(self.early, [1])
        self.check_good(conn)
        self.check_steps("send", "wait", "send")
        self.assertEqual(self.received, [BODY])

    def test_a_response_class(self):
        class Response(http.client.HTTPResponse):
            def begin(self, **kwargs):
                super().begin(**kwargs)
                self.begun = True

        conn = self.connect(self.say(CONTINUE))
        conn.response_class = Response
        conn.request("PUT", "/", BODY, headers=EXPECT)
        self.check_steps("send", "wait", "send")
        answered = conn.getresponse()
        self.assertIs(answered.begun, True)
        self.assertEqual(answered.read(), b"good")

    def test_poll_response(self):
        # The 100 that was waited for is not the beginning of the response.
        def script(link):
            fields = head(link)
            link.send(PROCESSING + CONTINUE)
            rest(link, fields)
            go_on.wait(support.SHORT_TIMEOUT)
            link.send(response(b"good"))

        go_on = threading.Event()
        conn = self.connect(script)
        conn.request("PUT", "/", BODY, headers=EXPECT)
        self.check_steps("send", "wait", "send")
        self.assertIs(conn.poll_response(), False)
        go_on.set()
        self.assertIs(conn.poll_response(support.SHORT_TIMEOUT), True)
        self.check_good(conn)


@http_peer.over_tls
class AnsweredTests(ContinueTestCase):
    """A 100 that was waited for is the beginning of an answer."""

    def check_not_sent_again(self, open, last):
        def script(link):
            for received, answer in ([], response(self.good)), (
                    self.received, last):
                fields = head(link)
                if "Expect" in fields:
                    link.send(CONTINUE)
                    received.append(rest(link, fields))
                link.send(answer)
            link.close()

        self.received = []
        with (mock.patch("http.client.HTTPConnection.continue_timeout",
                         support.SHORT_TIMEOUT),
              Peer(script, script, tls=self.tls) as peer):
            with self.assertRaises((http.client.RemoteDisconnected,
                                    urllib.error.HTTPError,
                                    xmlrpc.client.ProtocolError)):
                open(peer)
            self.assertEqual(len(self.received), 1)
            self.assertEqual(peer.accepted, 1)

    def open_url(self, peer):
        scheme = "https" if self.tls else "http"
        url = f"{scheme}://{http_peer.HOST}:{peer.port}/"
        context = peer.client_context() if self.tls else None
        request = urllib.request.Request(url, data=BODY, method="PUT",
                                         headers=EXPECT)
        with urllib.request.PersistentConnectionHandler(
                context=context) as handler:
            opener = urllib.request.build_opener(
                urllib.request.ProxyHandler({}), handler)
            opener.open(url, timeout=support.SHORT_TIMEOUT).read()
            try:
                opener.open(request, timeout=support.SHORT_TIMEOUT)
            except urllib.error.HTTPError as error:
                error.close()
                raise

    def call(self, peer):
        scheme = "https" if self.tls else "http"
        context = {"context": peer.client_context()} if self.tls else {}
        with xmlrpc.client.ServerProxy(
                f"{scheme}://{http_peer.HOST}:{peer.port}", idempotent=True,
                headers=[*EXPECT.items()], **context) as proxy:
            proxy.first()
            proxy.second()

    def test_urllib(self):
        self.good = b"good"
        for answer in b"", response(b"", status=b"408 Timeout"):
            with self.subTest(answer=answer):
                self.check_not_sent_again(self.open_url, answer)

    def test_xmlrpc(self):
        self.good = xmlrpc.client.dumps((1,), methodresponse=True).encode()
        for answer in b"", response(b"", status=b"408 Timeout"):
            with self.subTest(answer=answer):
                self.check_not_sent_again(self.call, answer)


@http_peer.over_tls
class RefusedTests(ContinueTestCase):

    def check(self, answer, status, body=b"no"):
        """Check that *answer* is the response, and nothing else is sent."""
        for name, (make_body, fields) in BODIES.items():
            with self.subTest(name):
                conn = self.connect(self.refuse(answer), self.fresh)
                to_send = make_body()
                conn.request("PUT", "/", to_send, headers=fields | EXPECT)
                self.check_steps("send", "wait")
                answered = conn.getresponse()
                self.assertEqual((answered.status, answered.read()),
                                 (status, body))
                # It has not been read.
                self.assertEqual(content(to_send), content(make_body()))
                # Nobody knows whether the server waits for the body.
                self.check_fresh(conn)
                self.steps.clear()
                conn.close()
                self.peer.join()
                self.assertEqual(self.received, [b""])

    def test_final_responses(self):
        for status in 200, 307, 401, 403, 413, 417:
            with self.subTest(status=status):
                self.check(response(b"no", status=b"%d No" % status), status)

    def test_no_body_in_the_response(self):
        self.check(b"HTTP/1.1 304 Not Modified\r\n\r\n", 304, b"")

    def test_old_server(self):
        self.check(b"HTTP/1.0 413 No\r\nConnection: keep-alive\r\n"
                   b"Content-Length: 2\r\n\r\nno", 413)

    def test_after_interim_responses(self):
        self.check(PROCESSING + b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
                   + response(b"no", status=b"403 No"), 403)

    def test_sent_by_hand(self):
        conn = self.connect(self.refuse(response(b"no", status=b"413 No")),
                            self.fresh)
        self.put_by_hand(conn)
        conn.send(b"01234")
        file = io.BytesIO(b"56")
        conn.send(file)
        self.assertEqual(file.tell(), 0)
        answered = conn.getresponse()
        conn.send([b"7", b"89"])
        self.assertEqual((answered.status, answered.read()), (413, b"no"))
        self.check_fresh(conn)
        conn.close()
        self.peer.join()
        self.assertEqual(self.received, [b""])

    def test_unread(self):
        conn = self.connect(self.refuse(response(b"no", status=b"413 No")),
                            self.fresh)
        conn.request("PUT", "/", BODY, headers=EXPECT)
        answered = conn.getresponse()
        self.check_fresh(conn)
        self.assertEqual(answered.read(), b"no")
        answered.close()
        conn.close()
        self.peer.join()
        self.assertEqual(self.received, [b""])

    def test_a_redirect(self):
        # As S3 does it: the body is sent once, to where it is wanted.
        redirect = self.refuse(response(b"", b"Location: /there",
                                        status=b"307 Temporary Redirect"))
        refused = self.received
        conn = self.connect(redirect, self.say(CONTINUE))
        body = io.BytesIO(BODY)
        target = "/here"
        while target is not None:
            conn.request("PUT", target, body, headers=EXPECT)
            answered = conn.getresponse()
            target = answered.getheader("Location")
            content = answered.read()
        self.assertEqual(content, b"good")
        conn.close()
        self.peer.join()
        self.assertEqual((refused, self.received), ([b""], [BODY]))

    def test_the_end(self):
        ends = [http_peer.Link.close, http_peer.Link.reset]
        if self.tls is not None:
            ends.append(http_peer.Link.end_tls)
        for end in ends:
            for said in b"", PROCESSING, b"HTTP/1.1 4":
                def script(link):
                    head(link)
                    link.send(said)
                    end(link)

                with self.subTest(end, said=said):
                    conn = self.connect(script, self.fresh)
                    conn.request("PUT", "/", BODY, headers=EXPECT)
                    self.check_steps("send", "wait")
                    with self.assertRaises((ConnectionError,
                                            http.client.BadStatusLine)):
                        conn.getresponse()
                    conn.close()
                    self.check_fresh(conn)
                    self.steps.clear()

    def test_what_is_no_response(self):
        for data in (b"?\r\n\r\n", b"\r\n\r\n", b"HTTP/1.1 1000 X\r\n\r\n",
                     b"HTTP/1.1\n", b"HTTP/1.1 X\r\n\r\n",
                     b"http/1.1 100 Continue\r\n\r\n"):
            with self.subTest(data=data):
                conn = self.connect(self.refuse(data), self.fresh)
                conn.request("PUT", "/", BODY, headers=EXPECT)
                self.check_steps("send", "wait")
                with self.assertRaises(http.client.BadStatusLine):
                    conn.getresponse()
                conn.close()
                self.check_fresh(conn)
                self.steps.clear()

    def test_the_rest_of_a_body_after_the_end(self):
        # It is discarded only as long as its connection is there.
        answer = response(b"no", b"Connection: close", status=b"413 No")
        conn = self.connect(self.refuse(answer), self.fresh)
        self.put_by_hand(conn)
        self.check_steps("send", "wait")
        self.assertEqual(conn.getresponse().read(), b"no")
        with self.assertRaises(http.client.NotConnected):
            conn.send(b"0123456789")
        self.check_fresh(conn)

    def test_another_socket(self):
        # What was refused on one is not to be missing on another.
        conn = self.connect(self.refuse(response(b"no", status=b"413 No")),
                            self.fresh)
        self.put_by_hand(conn)
        conn.send(b"0123456789")
        other = self.peer.connect()
        other.connect()
        with conn.sock:
            conn.sock = other.sock
            conn.send(b"GET / HTTP/1.1\r\n\r\n")
            self.assertEqual(conn.getresponse().read(), b"fresh")
        self.peer.join()
        self.assertEqual(self.received, [b""])

    def test_101(self):
        answer = b"HTTP/1.1 101 Switching Protocols\r\n\r\nraw"
        conn = self.connect(self.refuse(answer))
        conn.request("PUT", "/", BODY, headers=EXPECT)
        self.check_steps("send", "wait")
        answered = conn.getresponse()
        self.assertEqual(answered.status, 101)
        self.assertEqual(answered.fp.peek(), b"raw")
        conn.send(b"something else")
        conn.sock.shutdown(socket.SHUT_WR)
        self.peer.join()
        self.assertEqual(self.received, [b"something else"])

    def test_at_once(self):
        # A timeout of 0 is for what has arrived already.
        class Connection(http.client.HTTPSConnection if self.tls else
                         http.client.HTTPConnection):
            def send(self, data):
                super().send(data)
                self.poll_response(support.SHORT_TIMEOUT)

        conn = self.connect(self.refuse(response(b"no", status=b"413 No")),
                            timeout=0, cls=Connection, tickets=2)
        conn.request("PUT", "/", BODY, headers=EXPECT)
        self.check_steps("send", "wait")
        self.assertEqual(conn.getresponse().status, 413)


class TunnelTests(ContinueTestCase):

    def test_refused(self):
        def script(link):
            link.answer()
            refuse(link)

        def again(link):
            link.answer()
            link.answer(b"fresh")

        refuse = self.refuse(response(b"no", status=b"413 No"))
        conn = self.connect(script, again)
        conn.set_tunnel("destination.example", 80)
        conn.request("PUT", "/", BODY, headers=EXPECT)
        self.check_steps("send", "wait")
        self.assertEqual(conn.getresponse().read(), b"no")
        self.check_fresh(conn)
        conn.close()
        self.peer.join()
        self.assertEqual(self.received, [b""])

    @unittest.skipIf(http_peer.ssl is None, "needs a module")
    def test_https(self):
        context = http_peer.ssl.SSLContext(
            http_peer.ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(http_peer.CERTFILE)

        def script(link):
            link.answer()
            link.reader.close()
            link.sock = context.wrap_socket(link.sock, server_side=True)
            link.reader = link.sock.makefile("rb")
            say(link)

        say = self.say(CONTINUE)
        with Peer(script) as self.peer:
            conn = self.peer.connect(
                http.client.HTTPSConnection,
                context=http_peer.ssl.create_default_context(
                    cafile=http_peer.CERTFILE))
            conn.set_tunnel("localhost", 443, headers=EXPECT)
            conn.continue_timeout = support.SHORT_TIMEOUT
            self.watch(conn)
            conn.request("PUT", "/", BODY, headers=EXPECT)
            # The first is for CONNECT, where nothing waits.
            self.check_steps("send", "wait", "send")
            self.check_good(conn)
        self.assertEqual(self.received, [BODY])


@http_peer.over_tls
class SilentTests(ContinueTestCase):
    """The server does not decide in time."""

    def test_nothing_in_time(self):
        # Whatever it says later is read past.
        for timeout in 0.01, 0, -1:
            for late in b"", CONTINUE, PROCESSING:
                with self.subTest(timeout=timeout, late=late):
                    conn = self.connect(self.say(after=late), tickets=2,
                                        timeout=timeout)
                    conn.request("PUT", "/", BODY, headers=EXPECT)
                    self.check_steps("send", "wait", "send")
                    self.check_good(conn)
                    conn.request("PUT", "/", BODY, headers=EXPECT)
                    self.check_good(conn)
                    self.steps.clear()
                    self.assertEqual(self.received, [BODY, BODY])
                    self.assertEqual(self.peer.accepted, 1)

    def test_a_part_in_time(self):
        for begin in CONTINUE[:12], CONTINUE[:-1], PROCESSING + CONTINUE[:-1]:
            with self.subTest(begin=begin):
                end = (PROCESSING + CONTINUE).partition(begin)[2]
                conn = self.connect(self.say(begin, after=end), timeout=0.01)
                conn.request("PUT", "/", BODY, headers=EXPECT)
                self.check_steps("send", "wait", "send")
                self.check_good(conn)
                self.assertEqual(self.received, [BODY])

    def check_undecided(self, data, error):
        """Check that the body is sent after *data*, before the time is up,
        and that getresponse() raises *error*."""
        def script(link):
            fields = head(link)
            link.send(data)
            self.received.append(rest(link, fields))
            received.set()
            link.wait_closed()

        received = threading.Event()
        self.received = []
        conn = self.connect(script, self.fresh)
        conn.request("PUT", "/", BODY, headers=EXPECT)
        self.check_steps("send", "wait", "send")
        # A client that hangs up with something unread resets the connection.
        received.wait(support.SHORT_TIMEOUT)
        self.assertEqual(self.received, [BODY])
        with self.assertRaises(error):
            conn.getresponse()

    def test_too_many_interim_responses(self):
        self.check_undecided(PROCESSING * 100, http.client.HTTPException)

    def test_an_interim_response_that_is_too_long(self):
        # The client takes all of it, or the server could not go on.
        line = b"HTTP/1.1 100 ".ljust(65537, b"a")
        for end in b"", b"\r\n\r\n":
            with self.subTest(end=end):
                self.check_undecided(line + end, http.client.LineTooLong)

    def test_too_many_fields(self):
        # They are not let pass because somebody waits.
        self.check_undecided(b"HTTP/1.1 100 Continue\r\n" + b"A: b\r\n" * 101
                             + b"\r\n", http.client.HTTPException)

    @unittest.skipUnless(hasattr(http.client.HTTPConnection("a"),
                                 "max_response_headers"),
                         "needs max_response_headers")
    def test_more_fields_than_wanted(self):
        connect = self.connect

        def connect_with_limit(*args, **kwargs):
            conn = connect(*args, **kwargs)
            conn.max_response_headers = 10
            return conn

        self.connect = connect_with_limit
        self.check_undecided(b"HTTP/1.1 100 Continue\r\n" + b"A: b\r\n" * 50
                             + b"\r\n", http.client.HTTPException)

    # Guard: nothing is dropped that getresponse() has something to say of.
    def test_what_the_response_class_refuses(self):
        conn = self.connect(self.refuse(b"HTTP/1.1 100\x1c\n\n"))
        conn.request("PUT", "/", BODY, headers=EXPECT)
        with self.assertRaises(http.client.BadStatusLine):
            conn.getresponse()

    def test_an_interrupt(self):
        class Interrupt(BaseException):
            pass

        conn = self.connect(self.refuse(b""), self.fresh)
        with (mock.patch("http._reader.is_ready", side_effect=Interrupt),
              self.assertRaises(Interrupt)):
            conn.request("PUT", "/", BODY, headers=EXPECT)
        with self.assertRaises(http.client.RemoteDisconnected):
            conn.getresponse()
        self.check_fresh(conn)

    def test_what_is_no_number(self):
        conn = self.connect(self.refuse(b""), self.fresh, timeout="1")
        with self.assertRaises(TypeError):
            conn.request("PUT", "/", BODY, headers=EXPECT)
        conn.close()
        self.check_fresh(conn)

    def test_a_descriptor_that_cannot_be_watched(self):
        conn = self.connect(self.whole)
        with mock.patch("http._reader.is_ready",
                        side_effect=ValueError) as is_ready:
            conn.request("PUT", "/", BODY, headers=EXPECT)
            is_ready.assert_called_once()
        self.check_good(conn)


class TimeTests(ContinueTestCase):

    def check(self, said):
        """Check how long the client waits for a server that says one item of
        *said* each time, three seconds later."""
        def is_ready(sock, timeout, to_write=False):
            waits.append(timeout)
            if timeout < 3:
                clock.monotonic.return_value += timeout
                return False
            clock.monotonic.return_value += 3
            server.sendall(next(said))
            return True

        waits = []
        clock = mock.Mock()
        clock.monotonic.return_value = 1000
        conn = http.client.HTTPConnection("server.example")
        conn.continue_timeout = 10
        conn.sock, server = socket.socketpair()
        with (server, contextlib.closing(conn),
              mock.patch("http._reader.is_ready", is_ready),
              mock.patch("http._reader.time", clock)):
            conn.request("PUT", "/", b"body", headers=EXPECT)
            # First comes the look at an idle connection.
            self.assertEqual(waits, [0, 10, 7, 4, 1])
            received = server.recv(1000)
            self.assertTrue(received.endswith(b"\r\n\r\nbody"), received)

    def test_the_time_is_for_all_interim_responses(self):
        self.check(itertools.repeat(PROCESSING))

    def test_the_time_is_for_all_of_an_interim_response(self):
        self.check(CONTINUE[at:at + 1] for at in range(len(CONTINUE)))


@http_peer.over_tls
class NoWaitTests(ContinueTestCase):
    """What does not wait."""

    def check_no_wait(self, conn, body=BODY, headers=EXPECT):
        conn.request("PUT", "/", body, headers=headers)
        self.check_good(conn)
        self.check_steps("send")

    # Guard: nothing waits that did not.
    def test_default(self):
        conn = self.connect(self.whole)
        del conn.continue_timeout
        self.check_no_wait(conn)

    # Guard: the server is not asked.
    def test_not_expected(self):
        for headers in {}, {"Expect": "x"}, {"X": "expect: 100-continue"}:
            with self.subTest(headers=headers):
                self.check_no_wait(self.connect(self.whole), headers=headers)

    # Guard: what is in a body is not in the head.
    def test_in_the_body(self):
        # Nobody can tell where this request ends.
        conn = self.connect(self.whole)
        conn.putrequest("PUT", "/")
        conn.putheader("Content-Length", "26")
        conn.putheader("Content-Length", "27")
        conn.endheaders(b"\r\nExpect: 100-continue\r\n\r\n")
        self.check_good(conn)
        self.assertEqual(self.steps, ["send"])

    # Guard: there is nothing to send.
    def test_no_body(self):
        for body in None, b"":
            with self.subTest(body=body):
                self.check_no_wait(self.connect(self.whole), body)

    # Guard: HTTP/1.0 knows nothing of it.
    def test_old_client(self):
        conn = self.connect(self.whole)
        conn._http_vsn, conn._http_vsn_str = 10, "HTTP/1.0"
        self.check_no_wait(conn)

    # Guard: it would not see what was received.
    def test_a_response_class_with_a_reader(self):
        class Response(http.client.HTTPResponse):
            def __init__(self, sock, *args, **kwargs):
                super().__init__(sock, *args, **kwargs)
                self.fp.close()
                self.fp = sock.makefile("rb", 1)

        for cls in Response, functools.partial(http.client.HTTPResponse):
            with self.subTest(cls):
                conn = self.connect(self.whole)
                conn.response_class = cls
                self.check_no_wait(conn)

    # Guard: what comes first is not for this request.
    def test_an_unread_response(self):
        def script(link):
            link.request()
            link.send(response(b"x" * 1_000_000))
            self.whole(link)

        conn = self.connect(script)
        conn.request("GET", "/")
        first = conn.getresponse()
        self.steps.clear()
        conn.request("PUT", "/", b"body", headers=EXPECT)
        self.check_steps("send")
        self.assertEqual(first.read(), b"x" * 1_000_000)
        self.check_good(conn)

    # Guard: the same goes for a class that has its own way to read.
    def test_an_unread_response_of_another_class(self):
        class Response:
            def __init__(self, *args, **kwargs):
                self.response = http.client.HTTPResponse(*args, **kwargs)

            def __getattr__(self, name):
                return getattr(self.response, name)

        def script(link):
            link.request()
            link.send(response(b"x" * 1_000_000))
            link.wait_closed()

        conn = self.connect(script)
        conn.response_class = Response
        conn.request("GET", "/")
        first = conn.getresponse()
        conn.response_class = http.client.HTTPResponse
        self.steps.clear()
        conn.request("PUT", "/", b"body", headers=EXPECT)
        self.check_steps("send")
        self.assertEqual(first.read(), b"x" * 1_000_000)

    # Guard: what comes first is not for this request.
    def test_an_outstanding_response(self):
        # There is a way to send requests ahead, of no official kind.
        conn = self.connect(self.whole)
        conn.request("GET", "/")
        conn._HTTPConnection__state = "Idle"
        self.check_no_wait(conn)
        conn._HTTPConnection__state = "Request-sent"
        self.check_good(conn)

    # Guard: such a socket cannot be asked.
    def test_fake_socket(self):
        conn = http.client.HTTPConnection("example.com")
        conn.continue_timeout = support.SHORT_TIMEOUT
        conn.sock = mock.Mock()
        conn.request("PUT", "/", b"body", headers=EXPECT)
        self.assertEqual(conn.sock.sendall.call_count, 2)
        conn.close()

    # Guard: if it has not been sent there will be no answer.
    def test_a_send_that_collects(self):
        collected = []
        conn = self.connect(self.whole)
        conn.connect()
        conn.send = collected.append
        conn.request("PUT", "/", b"body", headers=EXPECT)
        self.assertEqual(self.steps, ["wait"])      # looked before it
        conn.sock.sendall(b"".join(collected))
        self.check_good(conn)

    # Guard: others have waited by themselves, as botocore does.
    def test_a_wait_of_its_own(self):
        base = (http.client.HTTPSConnection if self.tls else
                http.client.HTTPConnection)

        class Response(http.client.HTTPResponse):
            def __init__(self, *args, line, **kwargs):
                super().__init__(*args, **kwargs)
                self.lines = [line]

            def _read_status(self):
                if self.lines:
                    version, status, reason = self.lines.pop().split()
                    return version, int(status), reason
                return super()._read_status()

        class Connection(base):
            refused = False

            def _send_output(self, body=None, *args, **kwargs):
                self.send(b"\r\n".join([*self._buffer, b"", b""]))
                del self._buffer[:]
                http_peer.wait_readable(self.sock)
                with self.sock.makefile("rb", 0) as file:
                    line = file.readline().decode()
                    if " 100 " in line:
                        file.readline()
                        self.send(body)
                        return
                self.refused = True
                self.response_class = functools.partial(Response, line=line)

            def send(self, data):
                if not self.refused:
                    super().send(data)

        refuse = self.refuse(response(b"no", status=b"413 No"))
        refused = self.received
        for timeout in None, support.SHORT_TIMEOUT:
            with self.subTest(timeout=timeout):
                conn = self.connect(self.say(CONTINUE), timeout=timeout,
                                    cls=Connection)
                for _ in range(2):
                    conn.request("PUT", "/", BODY, headers=EXPECT)
                    self.check_good(conn)
                    self.assertEqual(self.early, [1])
                    self.early.clear()
                    self.check_steps("send")
                self.assertEqual(self.received, [BODY, BODY])

                conn = self.connect(refuse, timeout=timeout, cls=Connection)
                conn.request("PUT", "/", BODY, headers=EXPECT)
                answered = conn.getresponse()
                self.assertEqual((answered.status, answered.read()),
                                 (413, b"no"))
                conn.close()
                self.peer.join()
                self.assertEqual(refused.pop(), b"")
                self.steps.clear()


if __name__ == "__main__":
    unittest.main()
