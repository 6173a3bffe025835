"""A limit on a whole request, from the connection to the last byte of the answer.

httpx's own timeouts begin anew with every packet: a server that sends one byte a second would hold a function until
Lambda ends it, in the middle of an answer that nobody gets a second time.
"""

import socket
import threading
from collections.abc import Callable, Iterator, Mapping

import httpx


class LimitedTransport(httpx.BaseTransport):
    """Passes requests on, and cuts the connection of one that takes longer than its own read timeout in all.

    Such a request fails with `httpx.ReadTimeout`, or as httpx says where no connection was made. For one request at a
    time, as a synchronous client is used.
    """

    def __init__(self, inner: httpx.BaseTransport) -> None:
        self._inner = inner
        self._sockets: list[socket.socket] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request. The limit holds until the answer's stream is closed."""
        watch = _Watch(request.extensions["timeout"]["read"], self._cut)
        request.extensions["trace"] = self._remember
        try:
            response = self._inner.handle_request(request)
        except BaseException as error:
            watch.end()
            _raise_if_cut(watch, error, request)
            raise
        if not isinstance(response.stream, httpx.SyncByteStream):
            watch.end()
            raise TypeError("the inner transport gave an answer for asynchronous reading")
        response.stream = _Watched(response.stream, watch, request)
        return response

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()
        self._sockets.clear()

    def _remember(self, event: str, info: Mapping[str, object]) -> None:
        """Note every socket (https://www.python-httpx.org/advanced/extensions/#trace)."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            get_extra_info = getattr(info["return_value"], "get_extra_info", lambda _: None)
            found = get_extra_info("socket")
            if isinstance(found, socket.socket):
                self._sockets.append(found)

    def _cut(self) -> None:
        for known in self._sockets:
            try:
                # Not SSLSocket's own shutdown: it would take the TLS layer away under the thread that reads.
                socket.socket.shutdown(known, socket.SHUT_RDWR)
            except OSError:
                continue  # closed already


class _Watch:
    """Cuts once after so many seconds, unless ended before. No thread is alive after `end`."""

    def __init__(self, seconds: float, cut: Callable[[], None]) -> None:
        self.has_cut = False
        self._cut = cut
        self._timer = threading.Timer(seconds, self._strike)
        self._timer.daemon = True
        self._timer.start()

    def _strike(self) -> None:
        self.has_cut = True
        self._cut()

    def end(self) -> None:
        self._timer.cancel()
        self._timer.join()


class _Watched(httpx.SyncByteStream):
    """The body of an answer, read under the watch."""

    def __init__(self, inner: httpx.SyncByteStream, watch: _Watch, request: httpx.Request) -> None:
        self._inner = inner
        self._watch = watch
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._inner
        except httpx.TransportError as error:
            _raise_if_cut(self._watch, error, self._request)
            raise
        # A body without a length ends with its connection: cut by us, it would pass for a complete one.
        if self._watch.has_cut:
            raise httpx.ReadTimeout("the whole request took too long", request=self._request)

    def close(self) -> None:
        try:
            self._inner.close()
        finally:
            self._watch.end()


def _raise_if_cut(watch: _Watch, error: BaseException, request: httpx.Request) -> None:
    connecting = isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout))
    if watch.has_cut and isinstance(error, httpx.TransportError) and not connecting:
        raise httpx.ReadTimeout("the whole request took too long", request=request) from None
