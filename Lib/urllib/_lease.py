"""How one connection serves several requests (private to urllib.request).

Within one OpenerDirector.open() a redirect, or a request that is repeated
with credentials, goes over the connection of the response that asked for
it, if it leads to the same place.  Afterwards nothing is kept, unless the
connection is one of a pool.
"""

import functools
import http.client
import re
import socket
from http._reuse import leaves_http
from threading import get_ident
from urllib.error import URLError
from urllib.parse import urlsplit

try:
    import ssl
except ImportError:
    _ENDS = (ConnectionError,)
    _SSLContext = None
else:
    _SSLContext = ssl.SSLContext
    # An end of the connection, as TLS sees it, is no ConnectionError.
    _ENDS = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)

# How much is read of a response that nobody wants, and for how many seconds,
# so that its connection can be used again.
_DRAIN_SIZE = 256 * 1024
_DRAIN_TIME = 0.05

_HTTPConnection = http.client._HTTPConnection   # whatever may replace it there
_HTTPResponse = http.client._HTTPResponse

# After these another request may follow; see answered and redirected.
_LEADING_ON = frozenset((300, 301, 302, 303, 307, 308, 401, 407))

# RFC 9110, section 9.2.2.
_IDEMPOTENT = frozenset(("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"))

_DEFAULT_PORTS = {"http": 80, "https": 443}

# Anything else, such as a negative number, is no limit.
_LIMITS = r'(?i)(?<![^\s,;])(timeout|max)\s*=\s*"?0*([0-9]{1,9})"?(?![^\s,;])'

# How many seconds before the server a connection is given up, or half of
# them if the server's limit is as short as that.
_MARGIN = 1


# On which part of any other authority is the host, parsers differ.  A zone
# (RFC 6874) is a part of the host.  Compiled when it is first needed.
_PLAIN = (r"(?:[^\[\]@%:\\\x7f-\U0010ffff]+"
          r"|\[[0-9a-fA-F:.]+(?:%[a-zA-Z0-9._~%-]+)?\])(?::[0-9]*)?")


@functools.lru_cache(maxsize=8)     # a hop asks for its URLs twice
def origin_of(url):
    """Return (scheme, host, port) of *url*; None if that is in doubt."""
    if re.search(r"[\x00-\x20\x7f]", url):
        # urlsplit() drops some of these, others do not.
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname:
        return None
    if not re.fullmatch(_PLAIN, parts.netloc):
        # However it is taken apart, it is like itself, and nothing else.
        return parts.scheme, parts.netloc, None
    if port is None:
        port = _DEFAULT_PORTS.get(parts.scheme)
    return parts.scheme, parts.hostname, port


# What of a connection that is not open says nothing about where it leads, or
# is compared in another way.
_ASIDE = frozenset(("timeout", "debuglevel", "host", "_buffer",
                    "_tunnel_host", "_tunnel_port", "_tunnel_headers"))


# What can be asked of a context; not its certificates and ciphers.
_OF_CONTEXT = ("check_hostname", "verify_mode", "verify_flags", "options",
               "minimum_version", "maximum_version")


def _calling(http_class):
    # Whoever has replaced an __init__() can have set anything.
    return http_class, http_class.__init__, _HTTPConnection.__init__


# What urllib.request calls http.client's own classes with.
_OPTIONS_OF = {_calling(_HTTPConnection): set()}
if hasattr(http.client, "HTTPSConnection"):
    _OPTIONS_OF[_calling(http.client.HTTPSConnection)] = {"context"}

# No name of a host is longer, and longer ones are not worth being kept.
_MAX_HOST = 300


def known_destination(http_class, host, options):
    """Return what stands in for destination_of() as long as there is no
    connection, and no tunnel.

    None if *http_class* has to be called to find out.  Raises InvalidURL if
    *host* is none.
    """
    try:
        if (options.keys() != _OPTIONS_OF.get(_calling(http_class))
                or len(host) > _MAX_HOST):
            return None
        place = _place_of(http_class, host, http_class.default_port,
                          http_class._http_vsn)
        if not options:
            return place
        context = options["context"]
        if context is None:     # each connection makes its own
            return None
        destination = place, context, *_state_of(context)
        hash(destination)
        return destination
    except TypeError:       # something that cannot be hashed
        return None


@functools.lru_cache(maxsize=64)
def _place_of(http_class, host, default_port, http_version):
    # As HTTPConnection.__init__() does it, which may want an SSLContext.
    connection = _HTTPConnection.__new__(_HTTPConnection)
    connection.default_port = default_port
    host, port = connection._get_hostport(host, None)
    connection._validate_host(host)
    return http_class, host.lower(), port, http_version


def clear_cache():
    """Forget the hosts that requests have been for."""
    _place_of.cache_clear()


def destination_of(connection, http_class, options):
    """Return what two connections have in common that lead to one place.

    *connection* is what *http_class*, or a function in its place, returned
    when it was called with *options*.  None if it is open already, or nobody
    can tell where it would lead.
    """
    if (not isinstance(connection, _HTTPConnection)
            or connection.sock is not None):
        return None
    try:
        return _compared(connection, http_class, options)
    except TypeError:       # something that cannot be hashed
        return None


def _compared(connection, http_class, options):
    made = None
    if type(connection) is not http_class:
        # A function can have set anything.
        made = object.__getstate__(connection)
        if not isinstance(made, dict):      # there are __slots__
            return None
        made = frozenset(item for item in made.items()
                         if item[0] not in _ASIDE)
    context = getattr(connection, "_context", None)
    destination = (
        type(connection), connection.host.lower(), connection.port,
        connection.source_address, _tunnel_of(connection),
        frozenset(options.items()), made, context,
        # Classes can be changed, and so can a context after it was used.
        connection._http_vsn, *_state_of(context))
    hash(destination)
    return destination


def _state_of(context):
    if context is None:
        return ()
    if type(context) is _SSLContext:
        # Plain numbers: to make enumeration members of them takes longer.
        context = super(_SSLContext, context)
    return [getattr(context, name, None) for name in _OF_CONTEXT]


def _tunnel_of(connection):
    host = connection._tunnel_host
    if not host:
        return None
    # The credentials for the proxy, and Host, which says what host does.
    fields = frozenset((name, value)
                       for name, value in connection._tunnel_headers.items()
                       if name != "Host")
    return host.lower(), connection._tunnel_port, fields


def authenticates_connection(fields):
    """Tell whether one of these challenges, or credentials, is of a scheme
    that authenticates a connection instead of a request."""
    return any(field.lstrip().lower().startswith(("negotiate", "ntlm"))
               for value in fields for field in value.split(","))


def idle_limit_of(headers):
    """Return (seconds, is_last) of a response's Keep-Alive fields.

    How long the connection may be idle, None if they do not say, and whether
    it can take no other request.  Both are a little less than the server
    grants, because the request takes some time, too.
    """
    fields = headers.get_all("Keep-Alive")
    if not fields:
        return None, False
    found = {"timeout": [], "max": []}
    for name, value in re.findall(_LIMITS, ",".join(fields)):
        found[name.lower()].append(int(value))
    seconds = min(found["timeout"], default=None)
    if seconds is not None:
        seconds -= min(_MARGIN, seconds / 2)
    return seconds, min(found["max"], default=2) < 2


class Lease:
    """The use of one connection, for a response and what follows from it.

    The response tells when it has ended (HTTPResponse._lease).  Then the
    connection is closed, unless it was claimed for another request.
    """

    __slots__ = ("destination", "connection", "_claimed", "_is_last",
                 "_is_personal")

    def __init__(self, destination, connection=None):
        # See destination_of().
        self.destination = destination
        # None until there is one, and after the end.
        self.connection = connection
        self._claimed = False
        # True if one side has announced that it closes the connection.
        self._is_last = False
        # True if the server takes all requests on it for one user's.
        self._is_personal = False

    def prepare(self, request, debuglevel):
        """Make the connection ready for another request."""
        connection = self.connection
        # A dead one is to be noticed, not to be replaced.
        connection.auto_open = 0
        connection.set_debuglevel(debuglevel)
        connection.timeout = timeout = request.timeout
        if timeout is socket._GLOBAL_DEFAULT_TIMEOUT:
            timeout = socket.getdefaulttimeout()
        if connection.sock.gettimeout() != timeout:
            connection.sock.settimeout(timeout)

    def open_new(self, connection):
        """Go on with *connection*, which is not open yet."""
        self.connection = connection

    def request_sent(self):
        """The request has been sent, or that has failed."""

    def hold(self, response, headers):
        """Keep the connection for as long as *response* is open.

        *headers* are those of its request, with their names in title case.
        """
        self._claimed = False
        knows_end = isinstance(response, _HTTPResponse)
        if (knows_end and response._use is not None
                and self.may_go_on_after(response)):
            self._note_limits(response, headers)
        else:
            # Nothing follows: as ever, it ends with the response's file.
            _release(self.connection)
        if (knows_end and not response.isclosed()
                and not leaves_http(response._method, response.status)):
            response._lease = self
        else:
            self.response_ended()

    def may_go_on_after(self, response):
        """Tell whether there is a use for the connection afterwards."""
        return getattr(response, "status", None) in _LEADING_ON

    def _note_limits(self, response, headers):
        if ("close" in _text_of(headers, "Connection").lower()
                # Specified nowhere, but there is no doubt what it means.
                or "close" in response.headers.get("Proxy-Connection",
                                                   "").lower()):
            self._is_last = True
        if _is_personal(response, headers):
            self._is_personal = True

    def dismiss(self, response):
        """Be done with the connection of *response*, which has no body.

        Whoever has the response can still ask its socket for the peer.
        """
        sock = getattr(getattr(response.fp, "raw", None), "_sock", None)
        if isinstance(sock, socket.socket):
            try:
                # Not SSLSocket's: that forgets the peer's certificate.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
            except OSError:     # the server has closed it
                pass
        self.end()

    def claim(self, response, request=None):
        """Try to get the connection free for another request.

        The rest of *response* is read and dropped, within bounds.  Return
        whether the connection can be used.  *request* is the one that is
        going to be repeated, None if it is another.
        """
        if self._is_last or (self._is_personal and request is None):
            response.close()
            return False
        self._claimed = True
        try:
            response._drain(_DRAIN_SIZE, _DRAIN_TIME)
        except BaseException:
            self.abort()
            raise
        if not self.is_reusable():
            self.end()
            return False
        return True

    def is_reusable(self):
        """Tell whether another request can go out over the connection."""
        return (not self._is_last and self.connection is not None
                and self.connection._is_reusable())

    def leave(self, response):
        """Close *response*, as nothing follows from it."""
        response.close()

    def response_ended(self):
        """The response has been read to its end, or was given up."""
        if not self._claimed:
            self.end()

    def end(self):
        """Be done with the connection, after its last response."""
        connection, self.connection = self.connection, None
        if connection is not None:
            _release(connection)

    def abort(self):
        """Be done with the connection, after a failure."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()

    def confine(self, thread):
        """Note which thread alone can end the response; None for any."""


def _release(connection):
    # If the server does not send us a 'Connection: close' header,
    # HTTPConnection assumes the socket should be left open.  It is closed
    # when the response goes away.  close() would close that, too.
    sock, connection.sock = connection.sock, None
    if sock:
        sock.close()


def _text_of(headers, name):
    # What http.client takes for a value need not be a str.
    value = headers.get(name, "")
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _is_personal(response, headers):
    for name in "Authorization", "Proxy-Authorization":
        if (name in headers
                and authenticates_connection([_text_of(headers, name)])):
            return True
    if getattr(response, "status", None) not in (401, 407):
        return False
    return authenticates_connection(
        response.headers.get_all("WWW-Authenticate", [])
        + response.headers.get_all("Proxy-Authenticate", []))


class PooledLease(Lease):
    """The same for a connection of a pool, which gets it back."""

    __slots__ = ("_slots", "_is_fresh", "_limit")

    def __init__(self, destination, slot):
        super().__init__(destination, slot.connection)
        # Empty after the end.  If threads end one response at the same time,
        # pop() lets one of them have the slot.
        self._slots = [slot]
        self._is_fresh = False
        self._limit = None
        slot.confine(get_ident())       # nobody else knows of it yet

    def open_new(self, connection):
        super().open_new(connection)
        self._is_fresh = True

    def request_sent(self):
        if self._is_fresh and self.connection.sock is not None:
            self._is_fresh = False
            for slot in self._slots:
                slot.opened()

    def hold(self, response, headers):
        if isinstance(response, _HTTPResponse):
            self._limit, is_last = idle_limit_of(response.headers)
            self._is_last |= is_last
        self.confine(None)
        super().hold(response, headers)

    def may_go_on_after(self, response):
        return True

    def confine(self, thread):
        for slot in self._slots:
            slot.confine(thread)

    def dismiss(self, response):
        response._close_conn()

    def leave(self, response):
        # Somebody else may have a use for the connection.
        response._drain(_DRAIN_SIZE, _DRAIN_TIME)

    def end(self):
        slot = self._take_slot()
        if slot is None:
            return
        why_not = self._why_not()
        if why_not is not None:
            self._let_go(slot, why_not, super().end)
            return
        connection, self.connection = self.connection, None
        slot.release(connection, self._limit)

    def abort(self):
        slot = self._take_slot()
        if slot is not None:
            self._let_go(slot, "the request failed", super().abort)

    def _take_slot(self):
        try:
            return self._slots.pop()
        except IndexError:
            return None

    def _why_not(self):
        if self.destination is None:
            return "nobody knows what else could go over it"
        if self._is_personal:
            return "it is authenticated for one user"
        if self._is_last:
            return "this was to be the last request"
        if self.is_reusable():
            return None
        if self.connection is None or self.connection.sock is None:
            return "the server or the end of the response left it closed"
        return "nobody knows where another response would begin"

    def _let_go(self, slot, reason, close):
        try:
            if self.connection is not None:
                report(self.connection, reason)
        finally:
            try:
                close()     # first: the slot stands for an open connection
            finally:
                slot.release()


def report(connection, reason):
    """Print why *connection* is let go, if it prints what it does."""
    if connection.debuglevel > 0:
        print("close:", f"{connection.host}:{connection.port},", reason)


def close_idle(connection, reason):
    """Close a connection that is not in use."""
    try:
        report(connection, reason)
    finally:
        try:
            connection.close()
        except OSError:
            pass


class answered:
    """Context in which the response to a request is processed.

    If it asks for credentials, and the same request is opened again, that
    takes over its connection (see claim()).  Until then it can be read, as
    it is what HTTPError gives to the caller if nobody has the credentials.
    """

    def __init__(self, request, response):
        self.request = request
        self.response = response
        self.is_lent = (isinstance(response, _HTTPResponse)
                        and response._lease is not None)

    def __enter__(self):
        if not self.is_lent:
            return
        # Outside of open(), nobody has the response yet.
        self.response._lease.confine(get_ident())
        if self.response.status in (401, 407):
            _offer(self.request, self.response)

    def __exit__(self, *exc_info):
        if not self.is_lent:
            return
        _take_offer(self.request)
        lease = self.response._lease
        if lease is None:
            return
        lease.confine(None)
        if self.response._has_ended():
            # There is no body, so nobody needs to read or close it.
            lease.dismiss(self.response)


class redirected:
    """Context in which the request that a redirect leads to is opened.

    Close *response*, and let the request have its connection if that goes
    to the same origin.
    """

    def __init__(self, response, request, target):
        self.response = response
        self.is_same_origin = _have_same_origin(request, target)
        self.target = target

    def __enter__(self):
        response, self.response = self.response, None
        lease = None
        if isinstance(response, _HTTPResponse):
            lease = response._lease
        if lease is None:
            response.close()
        elif not self.is_same_origin:
            lease.leave(response)
        elif lease.claim(response):
            _offer(self.target, lease)

    def __exit__(self, *exc_info):
        lease = _take_offer(self.target)
        if lease is not None:       # nobody has asked for it
            lease.end()


def _have_same_origin(request, target):
    origin = origin_of(request.full_url)
    return origin is not None and origin == origin_of(target.full_url)


class _Offers(dict):
    """A dict that does not keep a Request from being copied or pickled."""

    def __reduce_ex__(self, protocol):
        return dict, ()


def _offer(request, what):
    # Threads may share a Request, but not what happens to it.
    vars(request).setdefault("_follows", _Offers())[get_ident()] = what


def _take_offer(request):
    return getattr(request, "_follows", {}).pop(get_ident(), None)


def claim(request, destination):
    """Return the lease of a connection that *request* may go out over.

    None if the response that led to it, in the same open(), has left none.
    """
    offer = _take_offer(request)
    if offer is None:
        return None
    response = None
    if isinstance(offer, Lease):
        lease = offer
    else:
        response, lease = offer, offer._lease
        if lease is None:       # the handler has closed it
            return None
    if destination is None or lease.destination != destination:
        if response is None:
            lease.end()
        else:
            response.close()
        return None
    if response is not None and not lease.claim(response, request):
        return None
    return lease


class Resending:
    """Whether a request may be sent again, over a new connection.

    Only if it failed on one that had been used before, and the server did
    not begin to answer, or answered that it gave up on the idle connection.
    """

    def __init__(self, request):
        self._method = request.get_method()
        self._data = request.data
        # Where the body begins, if that is a file that can go back there.
        self._position = None
        if hasattr(self._data, "read"):
            self._note_position(self._data)

    def _note_position(self, file):
        try:
            position = file.tell()
            if file.seekable():
                self._position = position
        except Exception:
            pass    # it need not be much of a file

    def _is_repeatable(self):
        data = self._data
        if self._method not in _IDEMPOTENT:
            return False
        if data is None or isinstance(data, bytes):
            return True
        if hasattr(data, "read"):
            return self._position is not None
        try:
            memoryview(data)
        except TypeError:       # an iterable, perhaps an iterator
            return False
        return True

    def is_due_after(self, exc, connection):
        """Tell whether to send again after *exc*."""
        sending = isinstance(exc, URLError)
        if not isinstance(exc.reason if sending else exc, _ENDS):
            return False
        if connection._nothing_sent:
            return True
        if not self._is_repeatable():
            return False
        if sending:
            # The server may have said why it does not want to hear the rest.
            # But what failed may be the body, so do not wait for that.
            try:
                if not connection.poll_response(_DRAIN_TIME):
                    return False
                with connection.getresponse() as response:
                    return self.is_due_instead_of(response)
            except (OSError, http.client.HTTPException):
                pass
        return connection._nothing_came

    def is_due_instead_of(self, response):
        """Tell whether to send again rather than return *response*."""
        # After an interim response, it did begin to answer.
        return (getattr(response, "status", None) == 408
                and not getattr(response, "_followed_interim", False)
                and self._is_repeatable())

    def rewind(self):
        """Go back to where the body of the request began."""
        if self._position is not None:
            self._data.seek(self._position)
