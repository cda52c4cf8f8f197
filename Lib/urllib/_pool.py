"""A pool of connections (private to urllib.request).

It knows nothing of HTTP.  Connections with equal keys serve the same purpose.
A Place holds a connection, and is in Pool._idle or in Pool._in_use.  It is in
the latter also while its connection is being closed.

The garbage collector can end a use at any time, even in a thread that has the
lock.  So ending a use never waits for the lock: it is queued, and done by the
thread that has the lock.
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


def _get_age(then):
    return max(now - before for now, before in zip(_now(), then))


class Place:
    """The use of one connection.

    connection -- an idle one, or None; then set it to the one that is opened
    """

    connection = _pool = None
    _opened = 0, 0

    def __init__(self, key):
        self.key = key

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
            if pool._max_age < math.inf:
                limit = min(limit, pool._max_age - _get_age(self._opened))
            self._limit = limit
            if limit < math.inf:
                self._since = _now()
            pool._act(pool._take_back, self)

    def _has_expired(self):
        return self._limit < math.inf and _get_age(self._since) >= self._limit


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
            math.inf if limit is None else limit
            for limit in (max_per_key, idle_timeout, max_age))
        self._close = close
        self._reset()
        _pools.add(self)

    def _reset(self):
        # Hold the lock to use the attributes that follow, but not to close a
        # connection.
        self._lock = threading.Lock()
        self._idle = []         # the least recently used first
        self._in_use = set()
        self._closing = []      # those of _in_use whose connections to close
        self._generation = object()     # of the connections that are kept
        # These are used without the lock.
        self._actions = collections.deque()     # that need the lock
        self._waiters = []      # (queue, key) of threads that wait, in order

    def _act(self, function, *args):
        """Call it with the lock: now, or when another thread releases it."""
        self._actions.append((function, args))
        self._settle()

    def _perform(self):
        # Hold the lock to call this.
        while self._actions:
            function, args = self._actions.popleft()
            function(*args)
            self._wake()

    def _settle(self):
        # Call this whenever the lock has been released.
        while ((self._actions or self._closing)
               and self._lock.acquire(blocking=False)):
            try:
                self._perform()
                place = self._closing.pop(0) if self._closing else None
            finally:
                self._lock.release()
            if place is not None:
                try:
                    self._close(place.connection)
                finally:
                    place.connection = None
                    self._actions.append((self._take_back, (place,)))

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
        place = Place(key)
        if self._begin(place, None):
            return place
        timeout = math.inf if timeout is None else timeout
        deadline = time.monotonic() + min(timeout, threading.TIMEOUT_MAX)
        waiter = queue.SimpleQueue(), key
        self._waiters.append(waiter)
        try:
            while not self._begin(place, waiter):
                waiter[0].get(timeout=max(0, deadline - time.monotonic()))
        except queue.Empty:
            raise TimeoutError("timed out waiting for a connection") from None
        finally:
            self._waiters.remove(waiter)
            self._wake()        # the next one may be the first now
        return place

    def _wake(self):
        # The first for each key.  When it is done, it wakes the next one.
        waiters = reversed(self._waiters.copy())
        for waiting in {key: waiting for waiting, key in waiters}.values():
            waiting.put(None)

    def count(self, *, connections=0, requests=0):
        """Note that so many were opened or begun."""
        with self._lock:
            self.num_connections += connections
            self.num_requests += requests
        self._settle()

    def close(self):
        """Close the idle connections, and do not keep those in use."""
        self._act(self._close_all)

    def _begin(self, place, waiter):
        with self._lock:
            self._perform()     # a connection may have become idle
            has_begun = self._take(place, waiter)
        self._settle()
        return has_begun

    # The lock must be held whenever one of these is called.

    def _take(self, place, waiter):
        for idle in self._idle.copy():
            if idle._has_expired():
                self._retire(idle)
        key = place.key
        # Those that have waited longer come first.
        waiters = [other for other in self._waiters.copy() if other[1] == key]
        if waiters and waiters[0] is not waiter or self._is_full(key):
            return False
        self._in_use.add(place)
        self.num_requests += 1
        place._pool = self
        place._generation = self._generation
        for idle in reversed(self._idle):
            if idle.key == key:
                self._idle.remove(idle)
                place.connection = idle.connection
                place._opened = idle._opened
                break
        return True

    def _is_full(self, key):
        return (self._max_per_key < math.inf and self._max_per_key <=
                sum(place.key == key for place in self._in_use))

    def _take_back(self, place):
        if place.connection is not None:
            if (place._generation is not self._generation
                    or place._has_expired()):
                self._closing.append(place)
                return
            self._idle.append(place)
        self._in_use.discard(place)
        while len(self._idle) > self._max_idle:
            self._retire(self._idle[0])

    def _retire(self, idle):
        self._idle.remove(idle)
        self._in_use.add(idle)
        self._closing.append(idle)

    def _close_all(self):
        self._generation = object()
        for idle in self._idle.copy():
            self._retire(idle)


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
