"""Which headers of a request follow a redirect to another server."""

import http.client
import io
import unittest
import urllib.error
import urllib.request
import urllib.response
from unittest import mock

CREDENTIALS = {"Authorization": "Basic abc", "Cookie": "a=b",
               "Host": "virtual", "PROXY-Authorization": "Basic def"}
OTHERS = {"X-Api": "other", "Accept": "*/*"}

ALL = {name.lower() for name in CREDENTIALS | OTHERS}
REST = {name.lower() for name in OTHERS}

# The URL of a request, its new URL, and which of its headers are kept.
RULES = {
    # Guard: the same server gets the same headers as before.
    "same server": (ALL, [
        ("http://a.example/", "http://a.example/next"),
        ("http://a.example/", "http://A.Example:80/next"),
        ("https://a.example/", "https://a.example:443/next"),
        ("http://a.example:8080/", "http://a.example:8080/next"),
        ("http://[::1]/", "http://[::1]:80/"),
        ("http://[fe80::1%25eth0]/", "http://[FE80::1%25eth0]:80/"),
        ("http://user@a.example/", "http://user@a.example/next"),
        ("http://a%2eexample:81/", "http://a%2eexample:81/next"),
        ("http://\xe4.example/", "http://\xe4.example/next")]),
    # There may be another proxy for HTTPS, or none.
    "from HTTP to HTTPS": (ALL - {"proxy-authorization"}, [
        ("http://a.example/", "https://a.example/"),
        ("http://a.example:80/", "https://A.EXAMPLE:443/"),
        ("http://[fe80::1%25eth0]/", "https://[fe80::1%25eth0]/")]),
    "from HTTPS to HTTP": (REST, [
        ("https://a.example/", "http://a.example/"),
        ("https://a.example:8443/", "http://a.example:8443/"),
        ("https://a.example/", "http://a.example:443/")]),
    "another host": (REST, [
        ("http://a.example/", "http://b.example/"),
        ("http://a.example/", "http://www.a.example/"),
        ("http://www.a.example/", "http://a.example/"),
        ("http://a.example/", "https://b.example/"),
        ("http://a.example/", "http://a.example./"),
        ("http://[fe80::1%25eth0]/", "http://[fe80::1%25eth1]/"),
        ("http://[fe80::1%25eth0]/", "http://[fe80::1]/"),
        ("https://a.example/", "ftp://a.example/")]),
    "another port": (REST, [
        ("http://a.example/", "http://a.example:8080/"),
        ("http://a.example:8080/", "http://a.example/"),
        ("http://a.example:8080/", "https://a.example:8080/"),
        ("http://a.example:8080/", "https://a.example/"),
        ("http://a.example/", "https://a.example:8443/"),
        ("https://a.example/", "https://a.example:80/")]),
    # Not every URL parser finds the same host in them.
    "ambiguous host": (REST, [
        ("http://a.example/", "http://a.example@b.example/"),
        ("http://a.example/", "http://b.example\\@a.example/"),
        ("http://a.example/", "http://user@a.example/"),
        ("http://user@a.example/", "https://user@a.example/"),
        ("http://a.example/", "http://a%2eexample/"),
        ("http://a.example/", "http://a.exam\tple/"),
        ("http://k.example/", "http://\u212a.example/")]),
    "invalid URL": (REST, [
        ("http://a.example/", "http://a.example:port/"),
        ("http://a.example/", "http://a.example:99999/"),
        ("http://a.example/", "http:///next")]),
}


def redirect(url, newurl, headers, handler=None):
    """Return the names of the headers that follow the redirect."""
    handler = handler or urllib.request.HTTPRedirectHandler()
    new = handler.redirect_request(urllib.request.Request(url, None, headers),
                                   None, 302, "Found", {}, newurl)
    return {name.lower() for name in new.headers}


class RuleTests(unittest.TestCase):

    def test_rules(self):
        for rule, (kept, redirects) in RULES.items():
            for url, newurl in redirects:
                with self.subTest(rule, url=url, newurl=newurl):
                    self.assertEqual(
                        redirect(url, newurl, CREDENTIALS | OTHERS), kept)

    def test_whitespace_around_name(self):
        # Servers may ignore whitespace before the colon.
        headers = {f"{name} ": value for name, value in CREDENTIALS.items()}
        self.assertEqual(redirect("http://a.example/", "http://b.example/",
                                  headers), set())

    def test_subclass_can_add_credentials(self):
        class Handler(urllib.request.HTTPRedirectHandler):
            def redirect_request(self, *args):
                new = super().redirect_request(*args)
                new.add_header("Cookie", "for b")
                return new

        self.assertEqual(redirect("http://a.example/", "http://b.example/",
                                  CREDENTIALS, Handler()), {"cookie"})


class Servers(urllib.request.AbstractHTTPHandler):
    """All servers and proxies: redirect or answer, and note the headers.

    *locations* maps the URLs that are redirected to their new URLs.
    """

    handler_order = 400     # before HTTPHandler

    def __init__(self, locations={}):
        super().__init__()
        self.locations = locations
        self.received = []

    def http_open(self, req):
        self.received.append(dict(req.header_items()))
        location = self.locations.get(req.full_url)
        lines = f"Location: {location}\r\n\r\n" if location else "\r\n"
        response = urllib.response.addinfourl(
            io.BytesIO(), http.client.parse_headers(io.BytesIO(
                lines.encode())),
            req.full_url, 302 if location else 200)
        response.msg = "Found" if location else "OK"
        return response

    https_open = http_open
    http_request = urllib.request.AbstractHTTPHandler.do_request_
    https_request = http_request


class OpenTests(unittest.TestCase):

    PROXY = "http://user:secret@proxy.example:3128"
    PROXY_CREDENTIALS = "Basic dXNlcjpzZWNyZXQ="    # user:secret

    def setUp(self):
        self.enterContext(mock.patch("urllib.request.proxy_bypass",
                                     return_value=False))

    def open(self, url, servers, headers={}, proxies={}):
        """Open *url*, a Request or a string; return what was received."""
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler(proxies), servers)
        if isinstance(url, str):
            url = urllib.request.Request(url, headers=headers)
        opener.open(url).close()
        return servers.received

    def test_credentials_are_not_restored(self):
        # A redirect back to the first server does not restore them.
        received = self.open("http://a.example/", Servers({
            "http://a.example/": "http://b.example/",
            "http://b.example/": "http://a.example/back",
        }), CREDENTIALS)
        self.assertEqual([headers.get("Authorization")
                          for headers in received], ["Basic abc", None, None])
        self.assertEqual([headers["Host"] for headers in received],
                         ["virtual", "b.example", "a.example"])

    def test_proxy_credentials_are_sent_to_proxy(self):
        received = self.open(
            "http://a.example/",
            Servers({"http://a.example/": "http://b.example/"}),
            CREDENTIALS, {"http": self.PROXY})
        for headers in received:
            self.assertEqual(headers["Proxy-authorization"],
                             self.PROXY_CREDENTIALS)
        self.assertIn("Authorization", received[0])
        self.assertNotIn("Authorization", received[1])

    def test_whitespace_around_name_over_a_tunnel(self):
        class Connection(http.client.HTTPConnection):
            def set_tunnel(self, host, port=None, headers=None):
                received.append(headers)

            def request(self, method, url, body, headers, **kwargs):
                received.append(headers)
                raise OSError

        class Handler(urllib.request.AbstractHTTPHandler):
            handler_order = 400

            def https_open(self, req):
                return self.do_open(Connection, req)

        received = []
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({"https": "proxy.example"}), Handler)
        with self.assertRaises(urllib.error.URLError):
            opener.open(urllib.request.Request(
                "https://a.example/", headers={"Proxy-Authorization ": "x"}))
        to_proxy, to_server = received
        self.assertEqual(to_proxy, {"Proxy-Authorization": "x"})
        self.assertNotIn("proxy-authorization",
                         {name.strip().lower() for name in to_server})

    def test_redirect_past_proxy_drops_its_credentials(self):
        for headers in {}, {"Proxy-Authorization": "Basic abc"}:
            with self.subTest(headers=headers):
                first, second = self.open(
                    "http://a.example/",
                    Servers({"http://a.example/": "https://a.example/"}),
                    headers, {"http": self.PROXY})
                self.assertEqual(first["Proxy-authorization"],
                                 self.PROXY_CREDENTIALS)
                self.assertNotIn("Proxy-authorization", second)

    def test_proxy_credentials_of_a_request_that_is_opened_again(self):
        for url, proxies, kept in (
            # Another URL may be reached through another proxy.
            ("http://b.example/", {}, None),
            (None, {"http": "http://proxy2.example"}, None),
            (None, {"http": self.PROXY}, self.PROXY_CREDENTIALS),
        ):
            with self.subTest(url=url, proxies=proxies):
                request = urllib.request.Request("http://a.example/")
                servers = Servers()
                self.open(request, servers, proxies={"http": self.PROXY})
                if url is not None:
                    request.full_url = url
                self.open(request, servers, proxies=proxies)
                self.assertEqual([headers.get("Proxy-authorization")
                                  for headers in servers.received],
                                 [self.PROXY_CREDENTIALS, kept])

    # Guard: the URL can be deleted first.
    def test_deleted_url(self):
        request = urllib.request.Request("https://a.example/")
        self.open(request, Servers(), proxies={"https": self.PROXY})
        del request.full_url
        request.full_url = "http://b.example/"
        self.assertEqual(request.host, "b.example")


if __name__ == "__main__":
    unittest.main()
