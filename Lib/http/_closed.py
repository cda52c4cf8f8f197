"""What is raised because the server has closed (private to http.client).

Each of these exceptions is, and is called like, what was raised before there
was ConnectionClosed, so that an except clause for that does what it always
did.  They are classes of a module because exceptions are pickled.
"""

from http import client

try:
    import ssl
except ImportError:
    ssl = None


class IncompleteRead(client.IncompleteRead, client.ConnectionClosed):
    pass


class BadStatusLine(client.BadStatusLine, client.ConnectionClosed):
    pass


class BrokenPipeError(BrokenPipeError, client.ConnectionClosed):
    pass


class ConnectionResetError(ConnectionResetError, client.ConnectionClosed):
    pass


class ConnectionAbortedError(ConnectionAbortedError, client.ConnectionClosed):
    pass


if ssl is not None:

    class SSLEOFError(ssl.SSLEOFError, client.ConnectionClosed):
        pass

    class SSLZeroReturnError(ssl.SSLZeroReturnError, client.ConnectionClosed):
        pass


_classes = {cls.__bases__[0]: cls for cls in list(vars().values())
            if isinstance(cls, type)}


def convert(exc):
    """Return *exc* as a ConnectionClosed, or itself if it is of no class
    that tells of an end."""
    cls = _classes.get(type(exc))
    if cls is None:
        return exc
    closed = cls(*exc.__reduce__()[1])      # exc.args would lack a filename
    vars(closed).update(vars(exc))
    # Nor has __reduce__() what was set later, nor Windows' own number.
    for name in "errno", "strerror", "filename", "filename2", "winerror":
        value = getattr(exc, name, None)
        if value is not None:
            setattr(closed, name, value)
    return closed
