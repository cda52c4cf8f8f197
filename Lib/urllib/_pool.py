"""A pool of connections (private to urllib.request).

It knows nothing of HTTP.  Connections with equal keys serve the same purpose.
A Place holds a connection, and is in Pool._idle or in Pool._in_use.  It is in
the latter also while its connection is being closed.

The garbage collector can end a use at any time, even in a thread that has the
lock.  So the end of a use is queued.  If the lock is taken, the thread that has
it does the rest when it has released it.
"""

import collections
import math
import os
import queue
import threading
import time
import weakref


def _now():
    # time.monotonic() may stand still while the system sleeps.
    return time.monotonic(), time.time()


class Place:
    """The use of one connection.

    connection -- an idle one, or None; then set it to the one that is opened
    """

    connection = _pool = None

    def __init__(self, key, generation=None):
        self.key = key
        # These are of the connection; the times are those of _now().
        self._generation = generation
        self._opened = 0, 0
        self._deadlines = math.inf, math.inf

    def opened(self):
        """Note that a new connection was opened."""
        self._opened = _now()
        self._pool.count(connections=1)

    def release(self, connection=None, limit=math.inf):
        """End the use; *connection*, if any, can be used again.

        It may be idle for *limit* seconds.  A connection that is not given
        back has to be closed before.
        """
        pool, self._pool = self._pool, None
        if pool is not None:
            self.connection = connection
            limit = min(limit, pool._idle_timeout)
            if limit < math.inf or pool._max_age < math.inf:
                self._deadlines = [
                    min(now + limit, opened + pool._max_age)
                    for now, opened in zip(_now(), self._opened)]
            pool._end(self)


class Pool:
    """Idle connections, and how many are in use.

    max_idle -- how many idle connections to keep; the least recently used
        one is closed first
    max_per_key -- how many connections with equal keys there may be; None
        for no limit
    idle_timeout -- after how many seconds an idle connection is not used
        again; None for no limit
    max_age -- the same for the time since it was opened
    close -- function that closes a connection
    """

    def __init__(self, *, max_idle, max_per_key=None, idle_timeout=None,
                 max_age=None, close):
        self.num_connections = 0    # how many were opened
        self.num_requests = 0       # how many were begun
        self._max_idle = max_idle
        self._max_per_key, self._idle_timeout, self._max_age = (
            math.inf if limit is None else float(limit)
            for limit in (max_per_key, idle_timeout, max_age))
        self._close = close
        self._reset()
        _pools.add(self)

    def _reset(self):
        # Hold the lock to change these, but not to close a connection.
        self._lock = threading.Lock()
        self._idle = []         # the least recently used first
        self._in_use = set()
        self._closing = []      # those of _in_use whose connections to close
        # These change without the lock.
        self._generation = object()     # of the connections that are kept
        self._ended = collections.deque()   # those whose use has ended
        self._waiters = []      # (queue, key) of threads that wait, in order

    @property
    def num_idle(self):
        self._settle()
        return len(self._idle)

    @property
    def num_in_use(self):
        self._settle()
        return len(self._in_use)

    def get(self, key, timeout=None):
        """Return a Place for a connection with this key.

        Wait for at most *timeout* seconds if there are as many connections
        in use as there may be, and raise TimeoutError then.
        """
        place = self._try_to_get(key, None)
        if place is not None:
            return place
        timeout = math.inf if timeout is None else timeout
        deadline = time.monotonic() + min(timeout, threading.TIMEOUT_MAX)
        waiter = queue.SimpleQueue(), key
        self._waiters.append(waiter)
        try:
            while (place := self._try_to_get(key, waiter)) is None:
                waiter[0].get(timeout=max(0, deadline - time.monotonic()))
            return place
        except queue.Empty:
            raise TimeoutError("timed out waiting for a connection") from None
        finally:
            self._waiters.remove(waiter)
            self._wake(key)     # the next one may be the first now

    def count(self, *, connections=0, requests=0):
        """Note that so many were opened or begun."""
        with self._lock:
            self.num_connections += connections
            self.num_requests += requests
        self._settle()

    def close(self):
        """Close the idle connections, and do not keep those in use."""
        self._generation = object()
        self._end(Place(None))  # so that the idle ones are looked at

    def _try_to_get(self, key, waiter):
        try:
            with self._lock:
                self._update()  # a connection may have become idle
                return self._take(key, waiter)
        finally:
            self._settle()

    def _get_first(self, key, default=None):
        return next((waiter for waiter in self._waiters.copy()
                     if waiter[1] == key), default)

    def _wake(self, key):
        # When the first waiter is done, it wakes the next one.
        first = self._get_first(key)
        if first is not None:
            first[0].put(None)

    def _end(self, place):
        self._ended.append(place)
        self._settle()

    def _settle(self):
        # Call this whenever the lock has been released.
        while (self._ended or self._closing) and not self._lock.locked():
            with self._lock:
                self._update()
                place = self._closing.pop() if self._closing else None
            if place is not None:
                try:
                    self._close(place.connection)
                finally:
                    place.connection = None
                    self._ended.append(place)

    # The lock must be held whenever one of these is called.  A connection is
    # always in _idle or _in_use, so that a fork finds it.

    def _take(self, key, waiter):
        # Those that have waited longer come first.
        if self._get_first(key, waiter) is not waiter or self._is_full(key):
            return None
        place = Place(key, self._generation)
        self._in_use.add(place)
        for idle in reversed(self._idle):
            if idle.key == key:
                place.connection = idle.connection
                place._generation = idle._generation
                place._opened = idle._opened
                self._idle.remove(idle)
                break
        place._pool = self
        self.num_requests += 1
        return place

    def _is_full(self, key):
        return (self._max_per_key < math.inf and self._max_per_key <=
                sum(place.key == key for place in self._in_use))

    def _update(self):
        while self._ended:
            place = self._ended.popleft()
            if place.connection is not None:
                self._idle.append(place)
            self._in_use.discard(place)
            if self._waiters:
                self._wake(place.key)
        now, wall = _now()
        for place in self._idle.copy():
            if (place._generation is not self._generation
                    or now >= place._deadlines[0]
                    or wall >= place._deadlines[1]):
                self._retire(place)
        while len(self._idle) > self._max_idle:
            self._retire(self._idle[0])

    def _retire(self, place):
        self._in_use.add(place)
        self._closing.append(place)
        self._idle.remove(place)


_pools = weakref.WeakSet()

def _forget_all():
    # In a child process.  The connections are the parent's: closing a
    # descriptor here tells the server nothing.
    for pool in list(_pools):
        places = [*pool._idle, *pool._in_use]
        pool._reset()
        for place in places:
            if place.connection is not None:
                pool._close(place.connection)

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
