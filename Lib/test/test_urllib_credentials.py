"""What a request has for one server does not follow a redirect to another
(gh-77842)."""

import contextlib
import unittest
import urllib.error
import urllib.request
from test import http_peer, support
from test.http_peer import HOST, Peer, response
from unittest import mock

try:
    import ssl
except ImportError:
    ssl = None

support.requires_working_socket(module=True)

HEADERS = {"Authorization": "Basic abc", "Cookie": "a=b", "Host": "virtual",
           "PROXY-Authorization": "Basic def"}
OTHERS = {"X-Api": "other", "Accept": "*/*"}


def carried(url, newurl, headers=HEADERS, cls=None):
    """Return the names of the headers that follow the redirect."""
    handler = (cls or urllib.request.HTTPRedirectHandler)()
    request = urllib.request.Request(url, headers=headers)
    return {name.lower() for name in handler.redirect_request(
        request, None, 302, "Found", {}, newurl).headers}


class RuleTests(unittest.TestCase):

    ALL = {name.lower() for name in HEADERS | OTHERS}
    REST = {name.lower() for name in OTHERS}

    def check(self, expected, *pairs):
        for url, newurl in pairs:
            with self.subTest(f"{url} -> {newurl}"):
                self.assertEqual(carried(url, newurl, HEADERS | OTHERS),
                                 expected)

    # Guard: the same server gets what it got before.
    def test_same_server(self):
        self.check(
            self.ALL,
            ("http://a.example/", "http://a.example/next"),
            ("http://a.example/", "http://A.Example:80/next"),
            ("https://a.example/", "https://a.example:443/next"),
            ("http://a.example:8080/", "http://a.example:8080/next"),
            ("http://[::1]/", "http://[::1]:80/"),
            ("http://[fe80::1%25eth0]/", "http://[FE80::1%25eth0]:80/"),
            # Whatever this is, it is the same.
            ("http://user@a.example/", "http://user@a.example/next"),
            ("http://a%2eexample:81/", "http://a%2eexample:81/next"),
            ("http://\xe4.example/", "http://\xe4.example/next"))

    def test_from_http_to_https(self):
        # So many programs rely on it, and it is the better of the two; but
        # not by way of the same proxy.
        self.check(
            self.ALL - {"proxy-authorization"},
            ("http://a.example/", "https://a.example/"),
            ("http://a.example:80/", "https://A.EXAMPLE:443/"),
            ("http://[fe80::1%25eth0]/", "https://[fe80::1%25eth0]/"))

    def test_other_host(self):
        self.check(
            self.REST,
            ("http://a.example/", "http://b.example/"),
            ("http://a.example/", "http://www.a.example/"),
            ("http://www.a.example/", "http://a.example/"),
            ("http://a.example/", "https://b.example/"),
            ("http://a.example/", "http://a.example./"),
            ("http://a.example/", "http://a.example@b.example/"),
            ("http://a.example/", "http://b.example\\@a.example/"),
            ("http://a.example/", "http://user@a.example/"),
            ("http://user@a.example/", "https://user@a.example/"),
            ("http://a.example/", "http://a%2eexample/"),
            ("http://a.example/", "http://a.exam\tple/"),
            ("http://k.example/", "http://\u212a.example/"),
            ("http://[fe80::1%25eth0]/", "http://[fe80::1%25eth1]/"),
            ("http://[fe80::1%25eth0]/", "http://[fe80::1]/"),
            ("https://a.example/", "ftp://a.example/"))

    def test_other_port(self):
        self.check(
            self.REST,
            ("http://a.example/", "http://a.example:8080/"),
            ("http://a.example:8080/", "http://a.example/"),
            ("http://a.example:8080/", "https://a.example:8080/"),
            ("http://a.example:8080/", "https://a.example/"),
            ("http://a.example/", "https://a.example:8443/"),
            ("https://a.example/", "https://a.example:80/"))

    def test_from_https_to_http(self):
        self.check(
            self.REST,
            ("https://a.example/", "http://a.example/"),
            ("https://a.example:8443/", "http://a.example:8443/"),
            ("https://a.example/", "http://a.example:443/"))

    def test_what_cannot_be_compared(self):
        self.check(
            self.REST,
            ("http://a.example/", "http://a.example:port/"),
            ("http://a.example/", "http://a.example:99999/"),
            ("http://a.example/", "http:///next"))

    def test_subclass(self):
        class Handler(urllib.request.HTTPRedirectHandler):
            def redirect_request(self, *args):
                new = super().redirect_request(*args)
                new.add_header("Cookie", "for b")
                return new

        self.assertEqual(carried("http://a.example", "http://b.example/",
                                 cls=Handler), {"cookie"})


class RedirectTests(unittest.TestCase):

    def setUp(self):
        self.enterContext(mock.patch("urllib.request.proxy_bypass",
                                     return_value=False))

    def redirect(self, target):
        def script(link):
            while link.request():
                link.send(response(b"body", b"Location: " + target.encode(),
                                   status=b"302 Found"))
        return script

    def open(self, url, *handlers, headers=HEADERS, proxies={}):
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler(proxies), *handlers)
        request = urllib.request.Request(url, headers=headers)
        with opener.open(request, timeout=support.SHORT_TIMEOUT) as resp:
            return resp.read()

    def received(self, peer, number=-1):
        headers = peer.requests[number][1].headers
        return {name.title(): headers[name] for name in HEADERS
                if headers[name] is not None}

    def answer(self, link):
        link.answer(b"found")

    def test_other_port(self):
        with Peer(self.answer) as other:
            target = f"http://{HOST}:{other.port}/"
            with Peer(self.redirect(target)) as peer:
                url = f"http://{HOST}:{peer.port}/"
                self.assertEqual(self.open(url), b"found")
                self.assertEqual(self.received(peer)["Authorization"],
                                 "Basic abc")
                self.assertEqual(self.received(other),
                                 {"Host": f"{HOST}:{other.port}"})

    # Guard: on the same server they are kept, over one connection or two.
    def test_same_server(self):
        def script(link):
            while received := link.request():
                if received.target == b"/next":
                    link.send(response(b"found"))
                else:
                    link.send(response(b"", b"Location: /next",
                                       status=b"302 Found"))

        with Peer(script, script) as peer:
            self.assertEqual(self.open(f"http://{HOST}:{peer.port}/"),
                             b"found")
            for number in range(2):
                self.assertEqual(self.received(peer, number), {
                    name.title(): value for name, value in HEADERS.items()})

    def test_there_and_back(self):
        # They are not restored either.
        with contextlib.ExitStack() as stack:
            def first(link):
                link.request()
                link.send(response(b"", b"Location: http://%s:%d/" % (
                    HOST.encode(), other.port), status=b"302 Found"))

            peer = stack.enter_context(Peer(first, self.answer))
            back = f"http://{HOST}:{peer.port}/back"
            other = stack.enter_context(Peer(self.redirect(back)))
            self.assertEqual(self.open(f"http://{HOST}:{peer.port}/"),
                             b"found")
            self.assertEqual(self.received(peer, 0)["Cookie"], "a=b")
            self.assertEqual(self.received(peer, 1),
                             {"Host": f"{HOST}:{peer.port}"})

    @unittest.skipIf(ssl is None, "needs TLS")
    def test_from_https_to_http(self):
        with Peer(self.answer) as other:
            target = f"http://{HOST}:{other.port}/"
            with Peer(self.redirect(target), tls=ssl.TLSVersion.TLSv1_3,
                      ) as peer:
                handler = urllib.request.HTTPSHandler(
                    context=peer.client_context())
                url = f"https://{HOST}:{peer.port}/"
                self.assertEqual(self.open(url, handler), b"found")
                self.assertEqual(self.received(peer)["Cookie"], "a=b")
                self.assertEqual(self.received(other),
                                 {"Host": f"{HOST}:{other.port}"})

    def test_through_a_proxy(self):
        # The proxy gets its own credentials again, and nothing else.
        def script(link):
            received = link.request()
            if received.target == b"http://a.example/":
                link.send(response(b"", b"Location: http://b.example/",
                                   status=b"302 Found"))
            else:
                link.send(response(b"found"))

        with Peer(script, script) as peer:
            proxy = f"http://user:secret@{HOST}:{peer.port}"
            self.assertEqual(self.open("http://a.example/",
                                       proxies={"http": proxy}), b"found")
            first, second = self.received(peer, 0), self.received(peer, 1)
            self.assertEqual(first["Authorization"], "Basic abc")
            self.assertEqual(second, {
                "Host": "b.example",
                "Proxy-Authorization": first["Proxy-Authorization"]})

    def test_past_a_proxy(self):
        class Handler(urllib.request.BaseHandler):
            handler_order = 400

            def https_open(self, req):
                found.append(req.header_items())
                raise urllib.error.URLError("found")

        for headers in {}, {"Proxy-Authorization": "Basic abc"}:
            found = []
            with (self.subTest(headers=headers),
                  Peer(self.redirect("https://a.example/")) as peer):
                proxy = f"http://user:secret@{HOST}:{peer.port}"
                with self.assertRaisesRegex(urllib.error.URLError, "found"):
                    self.open("http://a.example/", Handler, headers=headers,
                              proxies={"http": proxy})
                self.assertEqual(self.received(peer), {
                    "Host": "a.example",
                    "Proxy-Authorization": "Basic dXNlcjpzZWNyZXQ="})
                self.assertNotIn("proxy-authorization",
                                 [name.lower() for name, _ in found[0]])

    def test_another_url_without_the_proxy(self):
        with Peer(self.answer) as peer, Peer(self.answer) as other:
            proxy = f"http://user:secret@{HOST}:{peer.port}"
            request = urllib.request.Request("http://a.example/")
            for proxies in {"http": proxy}, {}:
                opener = urllib.request.build_opener(
                    urllib.request.ProxyHandler(proxies))
                with opener.open(request, timeout=support.SHORT_TIMEOUT):
                    request.full_url = f"http://{HOST}:{other.port}/"
            self.assertIn("Proxy-Authorization", self.received(peer))
            self.assertNotIn("Proxy-Authorization", self.received(other))

    def test_one_proxy_after_another(self):
        request = urllib.request.Request("http://a.example/")
        with Peer(self.answer) as one, Peer(self.answer) as other:
            for peer, user in (one, "user:secret@"), (other, ""):
                opener = urllib.request.build_opener(
                    urllib.request.ProxyHandler(
                        {"http": f"http://{user}{HOST}:{peer.port}"}))
                opener.open(request, timeout=support.SHORT_TIMEOUT).close()
            self.assertIn("Proxy-Authorization", self.received(one))
            self.assertNotIn("Proxy-Authorization", self.received(other))


if __name__ == "__main__":
    unittest.main()
