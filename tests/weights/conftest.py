"""A local server that behaves like a hub, with faults on request."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from datagen.weights import registry
from datagen.weights.registry import Weight


@dataclass
class Hub:
    """Files by URL path, faults, and the requests."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)  # the next GET of a path ends after so many body bytes
    stall: dict[str, int] = field(default_factory=dict)  # a GET sends nothing more after so many body bytes
    ranges_known: bool = True  # else Range headers are ignored, as plain servers do
    broken: set[str] = field(default_factory=set)  # paths whose GETs answer 503
    stated: dict[str, int] = field(default_factory=dict)  # wrong sizes that HEAD states
    etags: dict[str, str] = field(default_factory=dict)  # instead of the true sha256
    sent: dict[str, dict[str, str | None]] = field(
        default_factory=dict
    )  # headers of GETs, None to leave one out
    endless: set[str] = field(default_factory=set)  # paths whose GETs never end (chunked)
    over: threading.Event = field(default_factory=threading.Event)  # ends stalled answers
    asked: list[tuple[str, str, str]] = field(default_factory=list)  # method, path, Range header

    def add(self, repo: str, path: str, content: bytes, revision: str = "main") -> str:
        """Add a file of a repository; returns its URL path."""
        where = f"/{repo}/resolve/{revision}/{path}"
        self.files[where] = content
        return where

    def ranges(self, path: str) -> list[str]:
        """Range headers of the GETs of a path, in order."""
        return [asked for method, where, asked in self.asked if method == "GET" and where == path]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A running server on 127.0.0.1; retries do not wait."""
    hub = Hub()
    monkeypatch.setattr("datagen.weights.download.time.sleep", lambda _: None)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, body: bool) -> None:
            asked = self.headers.get("Range", "")
            hub.asked.append((self.command, self.path, asked))
            content = hub.files.get(self.path)
            if content is None or (body and self.path in hub.broken):
                self.send_response(404 if content is None else 503)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            match = re.fullmatch(r"bytes=(\d+)-", asked) if hub.ranges_known else None
            start = int(match[1]) if match else 0
            if match and start >= len(content):
                self.send_response(416)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if match else 200)
            size = len(content) if body else hub.stated.get(self.path, len(content))
            headers: dict[str, str | None] = {
                "Content-Length": str(size - start),
                "ETag": f'"{hub.etags.get(self.path) or hashlib.sha256(content).hexdigest()}"',
                "X-Repo-Commit": "0" * 40,
            }
            if match:
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            endless = body and self.path in hub.endless
            if endless:
                headers |= {"Content-Length": None, "Transfer-Encoding": "chunked"}
            for name, value in (headers | (hub.sent.get(self.path, {}) if body else {})).items():
                if value is not None:
                    self.send_header(name, value)
            self.end_headers()
            while endless and not hub.over.is_set():
                try:
                    self.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
                except OSError:
                    self.close_connection = True
                    return
            if body:
                end = hub.cut.pop(self.path, None)
                pause = hub.stall.get(self.path)
                self.wfile.write(content[start : None if end is None else start + end][:pause])
                self.close_connection = end is not None or pause is not None
                if pause is not None:
                    self.wfile.flush()
                    hub.over.wait(30)

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Clients close connections early in these tests."""

    server = Server(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Any:
    def put(*entries: Weight) -> None:
        monkeypatch.setattr(registry, "WEIGHTS", entries)

    return put
