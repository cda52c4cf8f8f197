"""http.client.parse_headers() returns what email.parser would return."""

import email.errors
import http.client
import io
import unittest
from unittest import mock

# Sections in the grammar of RFC 9112, section 5.  They are parsed without
# email.parser.
STRICT = [
    b"Content-Length: 13\r\n", b"content-length:13\r\n",
    b"CONTENT-LENGTH: 13\r\nServer: x\r\n",
    b"A:\r\n", b"A: \r\n", b"A:\t\r\n", b"A: \r\nB:\t \tb\t \r\n",
    b"A:b\r\nB:  b\r\n", b"A: b: c:d\r\n", b"A: :\r\n",
    b"A: 1\r\na: 2\r\nA: 3\r\n",
    b"Set-Cookie: a=1; Path=/\r\nSet-Cookie: b=\"2\"; Secure\r\n",
    b"From: no mailbox\r\n",
    b"To: a@b.c, \"D\" <d@e.f>\r\nDate: never\r\n",
    b"Subject: =?utf-8?q?a?=\r\n", b"X: \x80\x85\xa0\xff\r\n",
    b"X: \xc3\xa9\r\n", b"X: a\tb\r\n",
    b"Content-Type: text/html; charset=utf-8\r\n",
    b"Content-Type: text/plain; boundary=x\r\n",
    b"Content-Type: nonsense\r\n", b"Content-Type:\r\n",
    b"Content-Type: a/b\r\nContent-Type: c/d\r\n",
    b"Content-Transfer-Encoding: base64\r\n", b"MIME-Version: 1.0\r\n",
    b"!#$%&'*+-.^_`|~: every other character\r\n",
    b"0: 1\r\n", b"From-: From me\r\n",
    b"A: " + b"b" * 20_000 + b"\r\nC: d\r\n",
    b"".join(b"X-%d: %d\r\n" % (n, n) for n in range(90)),
    b"Date: Sat, 28 Nov 2026 05:00:00 GMT\r\nServer: nginx\r\n"
    b"Content-Type: application/json\r\nContent-Length: 2\r\n"
    b"Connection: keep-alive\r\nVary: Accept-Encoding\r\n",
]

# Sections that have to be parsed by email.parser.
OTHER = [
    b"", b"A: folded\r\n value\r\nB: b\r\n", b"A: folded\r\n\tvalue\r\n",
    b"A: folded twice\r\n b\r\n c\r\n", b"A:\r\n b\r\n",
    b" folded: from the start\r\n", b"\tA: b\r\nC: d\r\n",
    b"A: b\nC: d\r\n", b"A: b\r\nC: d\n", b"A: b\rC: d\r\n", b"A: b\r\r\n",
    b"\rA: b\r\n", b"\r\r\nA: b\r\n", b"A: b\r\n\rC: d\r\n",
    b"A : b\r\n", b"A\t: b\r\n", b"A B: c\r\n", b"A\xe4: b\r\n",
    b"\xff: b\r\n", b"(A): b\r\n", b"\"A\": b\r\n", b"A/B: c\r\n",
    b"A\x7f: b\r\n", b": b\r\nC: d\r\n", b"no colon\r\nC: d\r\n",
    b"A: b\r\nno colon\r\nC: d\r\n",
    b"From me Mon Jan  1 00:00:00 2026\r\nA: b\r\n",
    b"A: b\r\nFrom me Mon Jan  1 00:00:00 2026\r\nC: d\r\n",
    b">From me\r\nA: b\r\n", b"A: b\0\r\n", b"A: \x1b\r\n",
    b"A: b\x0bC: d\r\n", b"A: b\x0cC: d\r\n", b"A: b\x1cC: d\r\n",
    b"A: b\x7f\r\n", b"Content-Type: multipart/mixed; boundary=x\r\n",
    b"Content-Type: multipart/mixed\r\n", b"Content-Type: MultiPart/Mixed\r\n",
    b"Content-Type: message/rfc822\r\n",
    b"Content-Type: Message/delivery-status\r\n",
    b"A: b\r\nContent-Type: message/partial\r\n",
]


class Message(http.client.HTTPMessage):
    """A class for which parse_headers() always uses email.parser."""


def parse(section, **kwargs):
    return http.client.parse_headers(io.BytesIO(section), **kwargs)


def describe(message):
    """Return what can be seen of *message*."""
    try:
        text = message.as_string()
    except email.errors.HeaderParseError as exc:
        text = repr(exc)
    payload = message.get_payload()
    if message.is_multipart():
        payload = list(map(describe, payload))
    return {
        "items": message.items(),
        "raw items": list(message.raw_items()),
        "values": [(message.get(name), message[name.upper()],
                    message.get_all(name)) for name in message],
        "type": (message.get_content_type(), message.get_params()),
        "defects": list(map(repr, message.defects)),
        "text": text,
        "payload": payload,
        "unixfrom": message.get_unixfrom(),
    }


class HeaderTests(unittest.TestCase):
    maxDiff = None

    def check(self, section):
        """Compare what parse_headers() returns with and without Message."""
        file = io.BytesIO(section + b"body")
        message = http.client.parse_headers(file)
        with self.subTest(section=section[:60]):
            self.assertIs(type(message), http.client.HTTPMessage)
            self.assertEqual(describe(message),
                             describe(parse(section + b"body",
                                            _class=Message)))
        return file.read()

    def test_strict_sections_are_parsed_without_email_parser(self):
        for section in STRICT:
            with mock.patch("email.parser.Parser", side_effect=AssertionError):
                parse(section + b"\r\n")
            self.assertEqual(self.check(section + b"\r\n"), b"body")

    # Guard: what is not strict is parsed as before.
    def test_other_sections(self):
        for section in OTHER:
            for end in b"\r\n", b"\n", b"":
                self.check(section + end)
        for section in STRICT:
            for end in b"\n", b"":
                self.check(section + end)

    # Guard: one wrong byte is noticed wherever it is.
    def test_each_byte_replaced(self):
        section = b"Ab: x\r\nContent-Length: 1\r\nX:y\r\n\r\n"
        for at in range(len(section)):
            for byte in b"\0\t\n\r :\x7f\x85A":
                self.check(b"%b%c%b" % (section[:at], byte,
                                        section[at + 1:]))

    # Guard: for another class, email.parser is used as before.
    def test_another_class(self):
        with mock.patch("email.parser.Parser") as parser:
            parse(b"A: b\r\n\r\n", _class=Message)
        parser.assert_called_once_with(_class=Message)

    # Guard: a message can be changed.
    def test_changing_a_message(self):
        message = parse(b"A: 1\r\nB: 2\r\nA: 3\r\n\r\n")
        expected = parse(b"A: 1\r\nB: 2\r\nA: 3\r\n\r\n", _class=Message)
        for each in message, expected:
            del each["b"]
            each["C"] = "4"
            each.replace_header("a", "5")
            each.set_payload("body")
        self.assertEqual(describe(message), describe(expected))


if __name__ == "__main__":
    unittest.main()
