"""Header fields in the strict grammar (private to http.client).

The email package has to find its way in anything that may pass for a mail.
Nearly every response keeps to the grammar of HTTP, which takes a regular
expression and a tenth of the time.
"""

import re

# RFC 9112, section 5, without folded lines: names that are tokens, values
# without control characters, CRLF after each, and an empty line at the end.
_is_strict = re.compile(
    r"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t\x20-\x7e\x80-\xff]*+\r\n)*+\r\n"
).fullmatch
_find_fields = re.compile(r"([^:\r]++):[ \t]*+([^\r]*+)\r\n").findall


def parse(section):
    """Return the fields of a header section as a list of (name, value).

    *section* is a str, with the empty line at its end.  Return None if it is
    for the email package to say what is in it, so that a line which that
    ignores, or notes as a defect, is never taken for a field.
    """
    if _is_strict(section) is None:
        return None
    # Of these types it parses the payload, too, and finds it missing.
    lower = section.lower()
    if "multipart/" in lower or "message/" in lower:
        return None
    return _find_fields(section)
