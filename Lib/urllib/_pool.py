"""A pool of idle connections (private to urllib.request).

It knows nothing of HTTP.  A connection is an object with a close() method;
connections with equal keys serve the same purpose.

A connection is either idle, and then the pool has it, or out with a Slot,
whose owner alone uses it.  What the pool needs to know is kept under one
lock, and nothing that may take time is done with it: connections are closed
after it was released.

A signal handler may raise an exception anywhere, and the garbage collector
may release a slot anywhere, also in a thread that has the lock.  So what is
to be done stands in a queue until it was done, and whoever has had the lock
looks there afterwards.  Doing a part of it once more does no harm.
"""

import collections
import os
import threading
import time
import weakref


class _Kind:
    """The connections with one key."""

    __slots__ = ("key", "idle", "out", "waiting")

    def __init__(self, key):
        self.key = key
        self.idle = {}          # {_Idle: None}, least recently used first
        self.out = set()        # of places
        self.waiting = collections.deque()      # of places


class _Place:
    """What counts as one connection that is out, or is going to be opened."""

    __slots__ = ("kind", "era", "idle", "gate", "thread")

    def __init__(self):
        self.kind = None
        self.era = None         # of the pool, when the place was granted
        self.idle = None        # what came with it, until its owner has that
        self.gate = None        # locked while the place is waited for
        self.thread = None      # see Slot.confine()


class Slot:
    """Leave to have one connection; *connection* is an idle one, or None.

    If it gets lost, the garbage collector releases it.
    """

    connection = None
    _place = None       # after the end, too

    def __init__(self, pool):
        self._pool = pool
        self._place = _Place()

    def opened(self):
        """Note that its owner has opened another connection."""
        self._pool._call(self._pool._add_connection)

    def confine(self, thread):
        """Note which thread alone can release the slot; None for any."""
        place = self._place
        if place is not None:
            place.thread = thread

    def release(self, connection=None, limit=None):
        """Give back the slot, and *connection* if it can be used again.

        It may be idle for *limit* seconds; None for as long as the pool
        wants.  To be called after a connection that is not given back was
        closed.  It never waits.
        """
        place = self._place
        if place is None:
            return
        idle = None
        if connection is not None:
            idle = _Idle(place, connection, self._pool._limit(limit))
        self._pool._released.append([place, idle])
        self._pool._flush()
        self._place = None      # last, or else __del__() would not try again

    def _release_later(self):
        # By whoever looks at the queue next.
        self._pool._released.append([self._place, None])
        self._place = None

    def __del__(self):
        if self._place is not None:
            self.release()


class _Idle:
    __slots__ = ("kind", "era", "connection", "since", "wall_since", "limit")

    def __init__(self, place, connection, limit):
        self.kind = place.kind
        self.era = place.era
        self.connection = connection
        self.since = time.monotonic()
        # A computer that sleeps may stop the other clock.
        self.wall_since = time.time()
        self.limit = limit

    def has_expired(self, now, wall_now):
        if self.limit is None:
            return False
        return max(now - self.since, wall_now - self.wall_since) >= self.limit


class Pool:
    """Idle connections, and how many are out.

    max_idle -- how many idle connections to keep; the one that was not used
        for the longest time goes first
    max_per_key -- how many connections with equal keys there may be, idle
        ones included; None for no limit
    idle_timeout -- after how many seconds an idle connection is closed, as
        soon as the pool is used; None for never
    close -- called with a connection that goes, and the reason
    """

    def __init__(self, *, max_idle, max_per_key, idle_timeout, close):
        self.num_connections = 0    # how many were opened
        self.num_requests = 0       # how many slots were asked for, and got
        self._max_idle = max_idle
        self._max_per_key = max_per_key
        self._idle_timeout = idle_timeout
        self._close = close
        # What is to be done: [place, _Idle or None] to take back, an empty
        # list to close all, and (connection, reason, Slot) to close.
        self._released = collections.deque()
        self._doomed = collections.deque()
        self._reset()
        _pools.add(self)

    def _reset(self):
        self._lock = threading.RLock()
        # Changed by close() and by a fork.  What was out then is not kept.
        self._era = object()
        self._kinds = {}    # by key, those that are not empty
        self._idle = {}     # {_Idle: None}, least recently used first
        # When to look for connections that have been idle for too long.
        self._due = self._wall_due = float("inf")

    def acquire(self, key, timeout=None):
        """Return a Slot for *key*.

        If there are as many as there may be, wait for at most *timeout*
        seconds; None for no limit.  Raises TimeoutError after that, and
        RuntimeError if no other thread could end the wait.
        """
        if self._lock._is_owned():
            raise RuntimeError("a signal handler or a destructor has "
                               "interrupted the pool that it wants to use")
        slot = Slot(self)
        place = slot._place
        try:
            self._call(self._grant_or_queue, place, key)
            if place.gate is not None:
                self._wait(place, timeout)
            if place.idle is not None:
                slot.connection = place.idle.connection
                place.idle = None
        except BaseException:
            slot.release()
            raise
        return slot

    def count_request(self):
        """Note that a slot is used for one more request."""
        self._call(self._add_request)

    def close(self):
        """Close all idle connections, and do not keep those that are out.

        The pool can be used again afterwards.  It never waits: if another
        thread has the lock, that closes them in a moment.
        """
        self._released.append([])
        self._flush()

    def _limit(self, limit):
        own_limit = self._idle_timeout
        if limit is None or own_limit is None:
            return own_limit if limit is None else limit
        return min(limit, own_limit)

    # These are called with the lock held:

    def _add_request(self):
        self.num_requests += 1

    def _add_connection(self):
        self.num_connections += 1

    def _grant_or_queue(self, place, key):
        self._expire()
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = _Kind(key)
        place.kind = kind
        if self._has_room(kind):
            self._grant(place)
            return
        thread = threading.get_ident()
        if all(other.thread == thread for other in kind.out):
            raise RuntimeError(
                "all connections that there may be are in use by what waits "
                "for another one")
        place.gate = threading.Lock()
        place.gate.acquire()
        kind.waiting.append(place)

    def _has_room(self, kind):
        limit = self._max_per_key
        return limit is None or len(kind.out) < limit

    def _grant(self, place):
        kind = place.kind
        if place.idle is None and kind.idle:
            idle = next(reversed(kind.idle))    # the others may expire
            self._remove(idle)
            place.idle = idle
        place.era = self._era
        kind.out.add(place)
        self.num_requests += 1
        if place.idle is None and len(self._idle) >= self._max_idle:
            # Room for the one that is going to be opened.
            self._evict()

    def _is_granted(self, place):
        return place in place.kind.out

    def _settle(self):
        while self._released:
            entry = self._released[0]
            if entry:
                self._take_back(entry)
            else:
                self._clear()
            self._released.popleft()

    def _take_back(self, entry):
        place, idle = entry
        if idle is None:
            idle = place.idle   # its owner went without
        if idle is not None:
            self._keep(idle)
            entry[1] = place.idle = None    # now somebody may get it
        kind = place.kind
        if kind is None:        # it was interrupted before
            return
        kind.out.discard(place)
        if kind.waiting:
            if place in kind.waiting:
                kind.waiting.remove(place)
            self._serve(kind)
        while len(self._idle) > self._max_idle:
            self._evict()
        self._tidy(kind)

    def _serve(self, kind):
        # A place leaves the queue last, so it cannot be forgotten there.
        waiting = kind.waiting
        while waiting and (self._has_room(kind)
                           or self._is_granted(waiting[0])):
            place = waiting[0]
            if not self._is_granted(place):
                self._grant(place)
            if place.gate.locked():
                place.gate.release()
            waiting.popleft()

    def _tidy(self, kind):
        if (not (kind.out or kind.idle or kind.waiting)
                and self._kinds.get(kind.key) is kind):
            del self._kinds[kind.key]

    def _keep(self, idle):
        if idle.era is not self._era:
            self._doom(idle, "the pool was closed")
            return
        if idle.limit is not None and idle.limit <= 0:
            self._doom(idle, "it is not to be idle")
            return
        self._idle[idle] = None
        idle.kind.idle[idle] = None
        if idle.limit is not None:
            self._due = min(self._due, idle.since + idle.limit)
            self._wall_due = min(self._wall_due, idle.wall_since + idle.limit)

    def _remove(self, idle):
        # After an exception in here nobody gets it, and it is closed with
        # the others that are idle.
        idle.kind.idle.pop(idle, None)
        self._idle.pop(idle, None)

    def _evict(self):
        idle = next(iter(self._idle), None)
        if idle is not None:
            self._dismiss(idle, "too many are idle")

    def _dismiss(self, idle, reason):
        self._remove(idle)
        self._doom(idle, reason)

    def _expire(self):
        now, wall_now = time.monotonic(), time.time()
        if now < self._due and wall_now < self._wall_due:
            return
        due = wall_due = float("inf")
        for idle in list(self._idle):
            if idle.has_expired(now, wall_now):
                self._dismiss(idle, "it was idle for too long")
            elif idle.limit is not None:
                due = min(due, idle.since + idle.limit)
                wall_due = min(wall_due, idle.wall_since + idle.limit)
        self._due, self._wall_due = due, wall_due

    def _clear(self):
        self._era = object()
        for idle in list(self._idle):
            self._dismiss(idle, "the pool is closed")

    def _doom(self, idle, reason):
        # It counts until it was closed, which is after the lock was released.
        slot = Slot(self)
        slot._place.kind = idle.kind
        idle.kind.out.add(slot._place)
        self._doomed.append((idle.connection, reason, slot))

    # These are not.

    def _call(self, function, *args):
        try:
            return self._locked(function, *args)
        finally:
            self._flush()

    def _flush(self):
        try:
            if self._released or self._doomed:
                self._do_the_rest()
        except BaseException:
            self._do_the_rest()
            raise

    def _do_the_rest(self):
        # Whoever has the lock does it afterwards.
        if self._lock._is_owned():
            return
        while self._released or self._doomed:
            while self._released:
                if self._locked(None, blocking=False) is None:
                    break
            if not self._doomed:
                break
            self._close_doomed()

    def _close_doomed(self):
        try:
            connection, reason, slot = self._doomed.popleft()
        except IndexError:      # another thread was faster
            return
        # What interrupts this thread must not wait for it.
        slot.confine(threading.get_ident())
        try:
            self._close(connection, reason)
        finally:
            slot._release_later()

    def _locked(self, function, *args, blocking=True):
        lock = self._lock
        if lock._is_owned():
            return function(*args)
        # A signal may come between a with statement and its body, in Python
        # 3.14 at least.
        try:
            if not lock.acquire(blocking):
                return None
            if self._released:
                self._settle()
            result = True if function is None else function(*args)
            lock.release()
        except BaseException:
            if lock._is_owned():
                lock.release()
            raise
        return result

    def _wait(self, place, timeout):
        if timeout is None:
            timeout = -1
        else:
            timeout = min(max(timeout, 0), threading.TIMEOUT_MAX)
        if place.gate.acquire(timeout=timeout):
            return
        if not self._call(self._is_granted, place):
            raise TimeoutError("timed out waiting for a connection to become "
                               "free")

    def _forget(self):
        # In a child process, after a fork.  The connections are the parent's.
        # To close a descriptor here tells the server nothing, and leaves
        # those of the parent open.
        idles = list(self._idle)
        for place, idle in filter(None, self._released):
            idles += idle, place.idle
        connections = [idle.connection for idle in idles if idle is not None]
        doomed = list(self._doomed)     # with slots that are released below
        connections += [connection for connection, *_ in doomed]
        for kind in self._kinds.values():
            kind.waiting.clear()        # the threads are the parent's
        self._released.clear()
        self._doomed.clear()
        self._reset()
        for connection in connections:
            self._close(connection, "it is the parent process's")


_pools = weakref.WeakSet()

def _forget_all():
    for pool in list(_pools):
        pool._forget()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
