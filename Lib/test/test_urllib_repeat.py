"""Tests of the body of a request that urllib repeats or redirects."""

import http.client
import io
import tempfile
import unittest
import urllib.error
import urllib.request

CHALLENGES = {
    "HTTPBasicAuthHandler": 'Basic realm="r"',
    "HTTPDigestAuthHandler": 'Digest realm="r", nonce="n", qop="auth"',
}


class Passwords(urllib.request.HTTPPasswordMgr):
    def find_user_password(self, realm, authuri):
        return "user", "secret"


class Socket(io.BytesIO):
    """A socket from which a response can be read."""

    def makefile(self, *args):
        return self


class Connection:
    """Connection to a server that asks for credentials, and then sends back
    the body that comes with them.
    """

    sock = None

    def __init__(self, requests):
        self.requests = requests

    def set_debuglevel(self, level):
        pass

    def request(self, method, url, body, headers, *, encode_chunked):
        if hasattr(body, "read"):
            body = body.read()
        elif not isinstance(body, (bytes, type(None))):
            body = b"".join(body)
        self.requests.append((method, body, headers))

    def getresponse(self):
        method, body, headers = self.requests[-1]
        if method == "GET" or "Authorization" in headers:
            head = "HTTP/1.1 200 OK\r\n"
        elif "X-Kept" in headers:
            head = "HTTP/1.1 302 Found\r\nLocation: /get\r\n"
        else:
            head = ("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: "
                    f"{CHALLENGES[headers['User-Agent']]}\r\n")
            body = b"denied"
        body = body or b""
        head += f"Content-Length: {len(body)}\r\n\r\n"
        response = http.client.HTTPResponse(Socket(head.encode() + body))
        response.begin()
        return response

    def close(self):
        pass


class RepeatTests(unittest.TestCase):

    def open(self, data, name="HTTPBasicAuthHandler", headers={}):
        class Handler(urllib.request.HTTPHandler):
            def http_open(handler, req):
                return handler.do_open(
                    lambda host, timeout: Connection(self.requests), req)

        self.requests = []
        request = urllib.request.Request(
            "http://a.example/", data, method="POST",
            headers={"User-Agent": name, **headers})
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), Handler,
            getattr(urllib.request, name)(Passwords()))
        return opener.open(request)

    def check_repeated(self, data, body, **headers):
        for name in CHALLENGES:
            with self.subTest(name):
                if hasattr(data, "seek"):
                    data.seek(len(b"skipped."))
                with self.open(data, name=name, headers=headers) as resp:
                    self.assertEqual(resp.read(), body)
                self.assertEqual([sent for _, sent, _ in self.requests],
                                 [body, body])

    def test_body_is_sent_again_from_where_it_began(self):
        self.check_repeated(b"sent", b"sent")
        self.check_repeated([b"se", b"nt"], b"sent")
        self.check_repeated(io.BytesIO(b"skipped.sent"), b"sent")
        self.check_repeated(io.BytesIO(b"skipped.sent"), b"sent",
                            **{"Content-Length": "4"})
        with tempfile.TemporaryFile() as file:
            file.write(b"skipped.sent")
            self.check_repeated(file, b"sent")

    def test_body_that_can_be_read_once_gives_the_401(self):
        class Pipe(io.BytesIO):
            def seek(self, *args):
                raise OSError("not seekable")

        class Reader:
            file = io.BytesIO(b"body")

            def read(self, size=-1):
                return self.file.read(size)

        class Stuck(io.BytesIO):
            def seek(self, *args):
                return 0

        class Parts:
            parts = iter([b"bo", b"dy"])

            def __iter__(self):
                return self.parts

        for name in CHALLENGES:
            for data in (Pipe(b"body"), Reader(), Stuck(b"body"),
                         iter([b"bo", b"dy"]), Parts()):
                with self.subTest(data=data, name=name):
                    with self.assertRaises(urllib.error.HTTPError) as caught:
                        self.open(data, name=name)
                    with caught.exception as error:
                        self.assertEqual(error.code, 401)
                        self.assertEqual(error.read(), b"denied")
                    self.assertEqual(len(self.requests), 1)

    def test_redirect_of_a_post_drops_the_headers_of_its_body(self):
        names = ("Content-Type", "Content-Encoding", "Content-Language",
                 "Content-Location", "Content-MD5", "Content-Length ",
                 "Transfer-Encoding", "Trailer", "Expect", "Digest",
                 "Repr-Digest", "Last-Modified")
        headers = dict.fromkeys(names, "4") | {"X-Kept": "kept"}
        self.open(b"body", headers=headers).close()
        (method, body, headers) = self.requests[-1]
        self.assertEqual((method, body), ("GET", None))
        self.assertEqual(
            {name.strip() for name in headers} - {"Connection"},
            {"X-Kept", "User-Agent", "Host"})


if __name__ == "__main__":
    unittest.main()
