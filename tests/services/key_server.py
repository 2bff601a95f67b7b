"""An S3 server with as many objects as are wanted, none of which lies anywhere: it answers listings and gets.

Pages are as long as they are told to be. A page may be held back until an event, or refused; so the moment at which a
client knows a part of a listing can be had, and held.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

__all__ = ["KeyServer", "key_server"]

BUCKET = "keys"
_ERROR = "<Error><Code>{}</Code><Message>as the test wants it</Message></Error>"


@dataclass(slots=True)
class KeyServer:
    """What tests see of it. All may be changed while it runs."""

    count: int
    """Objects: ``in/f0000000.bin`` and so on; the content of each is its number."""
    page: int = 1000
    """Most keys of an answer."""
    endpoint: str = ""
    refused: dict[int, tuple[int, str]] = field(default_factory=dict)
    """Number of a page, from 0, to the status and the code that it is refused with."""
    held: dict[int, threading.Event] = field(default_factory=dict)
    """Number of a page to what it waits for."""
    asked: list[int] = field(default_factory=list)
    """Numbers of the pages that were asked for; probes for one key are left out."""
    broken_off: list[int] = field(default_factory=list)
    """Pages whose client had gone when they were answered."""
    latency: float = 0.0
    """Seconds that a page takes beside."""
    first_answer: Callable[[], object] = lambda: None
    """Called when the first page was sent."""
    changed: set[int] = field(default_factory=set)
    """Numbers of objects that have another etag."""
    gate: threading.Event = field(default_factory=threading.Event)
    """At the end of the test: nothing is held any more."""

    @property
    def url(self) -> str:
        return f"s3://{BUCKET}/in/*.bin"

    @property
    def options(self) -> dict[str, Any]:
        """What a user gives as ``storage_options``."""
        return {"endpoint_url": self.endpoint, "anon": True, "region": "us-east-1"}

    def tag(self, number: int) -> str:
        return f'"{number:x}{"-new" if number in self.changed else ""}"'

    def listing(self, first: int, most: int) -> str:
        last = min(self.count, first + most)
        entries = "".join(
            f"<Contents><Key>in/f{n:07}.bin</Key><ETag>{self.tag(n)}</ETag><Size>{len(str(n))}</Size></Contents>"
            for n in range(first, last)
        )
        more = f"<NextContinuationToken>{last}</NextContinuationToken>" if last < self.count else ""
        told = f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>{more}{entries}"
        return f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{told}</ListBucketResult>'


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    keys: KeyServer

    def log_message(self, *_: object) -> None:
        """A line a request is too much."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if "list-type" in query:
            self._list(query)
        else:
            number = int("".join(filter(str.isdigit, parts.path)))
            self._answer(200, str(number).encode(), ETag=self.keys.tag(number))

    def _list(self, query: dict[str, str]) -> None:
        keys, most = self.keys, int(query.get("max-keys", "1000"))
        if not "in/f".startswith(query.get("prefix", "")) or most == 1:
            self._answer(200, keys.listing(keys.count, 1).encode())
            return
        first = int(query.get("continuation-token", "0"))
        number = first // keys.page
        keys.asked.append(number)
        keys.gate.wait(keys.latency)
        if number in keys.held and not keys.gate.is_set():
            keys.held[number].wait()
        if number in keys.refused:
            status, code = keys.refused[number]
            self._answer(status, _ERROR.format(code).encode())
            return
        try:
            self._answer(200, keys.listing(first, min(most, keys.page)).encode())
        except OSError:
            keys.broken_off.append(number)
        if number == 0:
            keys.first_answer()

    def _answer(self, status: int, data: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed has hung up."""


@contextlib.contextmanager
def key_server(count: int, page: int = 1000) -> Iterator[KeyServer]:
    """Serve while the context lasts."""
    keys = KeyServer(count, page)
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"keys": keys}))
    keys.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="key-server")
    thread.start()
    try:
        yield keys
    finally:
        keys.gate.set()
        for event in keys.held.values():
            event.set()
        server.shutdown()
        server.server_close()
        thread.join()
