"""A client."""

import socket


class HTTPResponse:

    def begin(self):
        version, status, reason = self._read_status()
        self.status = status
        self.reason = reason.strip()
        self.version = version
        self.fp = None


class HTTPConnection:

    auto_open = 1

    def send(self, data):
        if self.sock is None:
            self.connect()
        self.sock.sendall(data)
