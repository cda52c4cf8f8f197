"""Header fields in the strict grammar (private to http.client).

The email package has to find its way in anything that may pass for a mail.
Nearly every response keeps to the grammar of HTTP, which takes a regular
expression and a tenth of the time.
"""

import re

# RFC 9112, section 5, without folded lines: names that are tokens, values
# without control characters, CRLF after each, and maybe the empty line.
_is_strict = re.compile(
    r"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t\x20-\x7e\x80-\xff]*+\r\n)*+"
    r"(?:\r\n)?"
).fullmatch
_find_fields = re.compile(r"([^:\r]++):[ \t]*+([^\r]*+)\r\n").findall


def parse(section):
    """Return the fields of a header section as a list of (name, value).

    *section* is a str.  Return None if it does not keep to the grammar.
    Then the email package has to parse it: it ignores some lines, and notes
    others as defects.
    """
    if _is_strict(section) is None:
        return None
    # Of messages of these types, the email package parses the payload, too,
    # and notes that it is missing.
    if "/" in section:
        lower = section.lower()
        if "multipart/" in lower or "message/" in lower:
            return None
    return _find_fields(section)
