"""The content of an http or https URL, within limits that hold from the first connection to the last byte.

The standard library's client serves: one request a file needs no more, and the packages that others bring (requests,
httpx) change from one of their versions to the next.
"""

from __future__ import annotations

import http.client
import io
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import automm

_CHUNK = 1 << 16  # bytes
_PLAIN = "!#$%&'()*+,/:;=?@[]~"  # of a URL; what else it may not hold is quoted
_BARE = re.compile("%(?![0-9A-Fa-f]{2})")  # which quotes nothing, as in "50% off.png"


class NotGot(Exception):
    """A file that cannot be had; says why, in a phrase."""


@dataclass(frozen=True)
class Limits:
    """What one file may take.

    Args:
        largest: bytes of the file; the body of a redirection is not read at all.
        silence: seconds that a server may send nothing.
        longest: seconds for all: connections, redirections, headers and the file. A connection that is being made when
            they end may take `silence` more.
    """

    largest: int
    silence: float
    longest: float


def content(url: str, limits: Limits, over: threading.Event) -> Iterator[bytes]:
    """The content of a URL, piece by piece.

    Args:
        url: of http or https; redirections to other services are not followed.
        limits: what it may take.
        over: once this is set what still comes is wanted no more.

    Raises:
        NotGot: whatever goes wrong in the network, so that an OSError is one of the disk.
    """
    clock = _Clock(limits, over)
    headers = {"User-Agent": f"automm/{automm.__version__}", "Accept": "*/*"}
    try:
        request = urllib.request.Request(_quoted(url), headers=headers)
        with _client(clock).open(request) as answer:
            yield from _pieces(answer, limits.largest)
    except urllib.error.HTTPError as error:
        error.close()
        raise NotGot(f"the answer is {error.code} {said(error.reason)}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = error.reason if isinstance(error, urllib.error.URLError) else error
        raise NotGot(clock.why() if isinstance(why, TimeoutError) else said(why)) from error


def said(why: object) -> str:
    """An error's own words, on one line."""
    text = why.strerror or str(why) if isinstance(why, OSError) else str(why)
    return " ".join(text.split()).rstrip(".") or type(why).__name__


def _pieces(answer: http.client.HTTPResponse, largest: int) -> Iterator[bytes]:
    size = 0
    while chunk := answer.read1(_CHUNK):
        size += len(chunk)
        if size + (answer.length or 0) > largest:
            raise NotGot(f"it has more than {largest / 1e6:g} MB")
        yield chunk
    if answer.length:
        raise NotGot(f"the answer was cut short: {answer.length} of {size + answer.length} bytes are missing")


class _Clock:
    """The time that is left for one file."""

    def __init__(self, limits: Limits, over: threading.Event) -> None:
        self._limits, self._over = limits, over
        self._end = time.monotonic() + limits.longest

    def patience(self) -> float:
        """Seconds that the next bytes may take.

        Raises:
            NotGot: they are wanted no more.
        """
        left = self._end - time.monotonic()
        if left <= 0 or self._over.is_set():
            raise NotGot(self._late())
        return min(self._limits.silence, left)

    def why(self) -> str:
        """What to say of bytes that did not come in time."""
        return self._late() if time.monotonic() >= self._end else f"nothing came for {self._limits.silence:g} s"

    def _late(self) -> str:
        return f"it is not complete after {self._limits.longest:g} s"


class _Clocked(io.RawIOBase):
    """What comes through a socket: before each read it is asked how long that may take.

    A socket's own time limit is for one read, and a server that sends a byte now and then never reaches it.
    """

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, clock: _Clock) -> None:
        self._raw, self._socket, self._clock = raw, sock, clock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._socket.settimeout(self._clock.patience())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    """An answer whose headers and chunk sizes are read by the clock too; so are those of a proxy."""

    def __init__(self, sock: socket.socket, *args: Any, clock: _Clock, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp: io.BufferedReader = io.BufferedReader(_Clocked(self.fp.detach(), sock, clock))


class _ByTheClock(urllib.request.AbstractHTTPHandler):
    """Opens connections whose answers are read by the clock."""

    def __init__(self, clock: _Clock) -> None:
        super().__init__()
        self._clock = clock

    def do_open(self, http_class: Any, req: Any, **options: Any) -> http.client.HTTPResponse:
        def connect(host: str, /, **given: Any) -> Any:
            made = http_class(host, **given)
            made.response_class = partial(_Answer, clock=self._clock)
            return made

        req.timeout = self._clock.patience()
        return super().do_open(connect, req, **options)


class _Http(_ByTheClock, urllib.request.HTTPHandler):
    pass


class _Https(_ByTheClock, urllib.request.HTTPSHandler):
    pass


class _Redirect(urllib.request.HTTPRedirectHandler):
    """Leaves the body of a redirection unread: it may be of any size."""

    def redirect_request(self, req: Any, fp: Any, *told: Any) -> urllib.request.Request | None:
        made = super().redirect_request(req, fp, *told)
        fp.close()  # what is read after that is empty
        return made


def _client(clock: _Clock) -> urllib.request.OpenerDirector:
    """A client of http and https alone: whatever an answer redirects to, no file is opened, and no other service."""
    client = urllib.request.OpenerDirector()
    plain: tuple[Callable[[], urllib.request.BaseHandler], ...] = (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPDefaultErrorHandler,
        _Redirect,
        urllib.request.HTTPErrorProcessor,
    )
    for handler in (_Http(clock), _Https(clock), *(make() for make in plain)):
        client.add_handler(handler)
    return client


def _quoted(url: str) -> str:
    """A URL as a request may hold it: tables have them with spaces and letters of other alphabets."""
    parts = urlsplit(url)
    host = parts.netloc if parts.netloc.isascii() else parts.netloc.encode("idna").decode("ascii")
    rest = (quote(_BARE.sub("%25", part), safe=_PLAIN) for part in (parts.path, parts.query))
    return urlunsplit((parts.scheme, host, *rest, ""))
