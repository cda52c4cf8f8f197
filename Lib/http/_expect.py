"""Waiting for 100 (Continue) before a body (private to http.client).

See RFC 9110, section 10.1.1.  Imported only by connections that wait.
"""

import re
from http import HTTPStatus
from http.client import _MAXINTERIMRESPONSES, _MAXLINE

_find_expectations = re.compile(rb"\r\nexpect:([^\r\n]*)").findall
_find_blank_line = re.compile(rb"\n\r?\n").search


def expects_continue(head):
    """Tell whether a request's head says "Expect: 100-continue"."""
    values = b",".join(_find_expectations(head.lower()))
    return b"100-continue" in [value.strip(b" \t")
                               for value in values.split(b",")]


def is_refused(received, sock, timeout, max_headers):
    """Return whether the server answers a request before its body.

    Wait for a final response, an error, or the end, at most *timeout*
    seconds.  If nothing of that kind comes in time, the body is to be sent,
    and None is returned; False if 100 (Continue) comes.  All that comes is
    left in *received*, but for that 100 and the interim responses before it.
    """
    def is_undecided(received):
        return (len(received) <= _MAXLINE
                and _find_answer(received, max_headers)[0] is None)

    received.poll_while(is_undecided, sock, timeout)
    wanted, end = _find_answer(received.pending, max_headers)
    if end:
        received.pending = received.pending[end:]
        return False
    if wanted is False or received.ended or received.error is not None:
        return True
    return None


def _find_answer(received, max_headers):
    # Return whether the server wants the body, None if that is not known
    # yet; and where the 100 ends that says so.
    end = 0
    for _ in range(_MAXINTERIMRESPONSES):
        begin, end = end, received.find(b"\n", end)
        if end < 0:
            return None, 0
        status = _parse_status(received[begin:end])
        if (status not in range(100, 200)
                or status == HTTPStatus.SWITCHING_PROTOCOLS):
            return False, 0
        blank = _find_blank_line(received, end)
        if blank is None:
            return None, 0
        end = blank.end()
        if (end > _MAXLINE
                or received.count(b"\n", begin, end) > 1 + max_headers):
            break
        if status == HTTPStatus.CONTINUE:
            return True, end
    return True, 0      # too much to look at here


def _parse_status(line):
    # As HTTPResponse does it: what it would not skip is not to be skipped
    # here.  None if it would raise BadStatusLine.
    line = line.decode("iso-8859-1") + "\n"
    parts = line.split(None, 2)
    if len(parts) < 3:
        parts = line.split(None, 1)
    try:
        version, status = parts[:2]
        return int(status) if version.startswith("HTTP/") else None
    except ValueError:
        return None
