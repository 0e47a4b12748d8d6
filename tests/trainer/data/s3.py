"""An HTTP server that serves a folder as an S3 bucket: list, head, and get by range."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


@contextmanager
def served(folder: Path, bucket: str = "bucket") -> Iterator[tuple[str, list[tuple[str, str, int]]]]:
    """Serve a folder; gives the bucket's URI for pyarrow, and a list of requests: method, key, bytes of the answer."""
    requests: list[tuple[str, str, int]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            key = unquote(url.path).removeprefix(f"/{bucket}").strip("/")
            if not key:
                return self._list(parse_qs(url.query))
            file = folder / key
            if not file.is_file():
                return self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            data, status, headers = file.read_bytes(), 200, {}
            if wanted := self.headers.get("Range"):
                first, last = wanted.removeprefix("bytes=").split("-")
                end = min(int(last or len(data)), len(data) - 1)
                headers["Content-Range"] = f"bytes {first}-{end}/{len(data)}"
                data, status = data[int(first) : end + 1], 206
            requests.append((self.command, key, len(data)))
            self._answer(status, data, **headers)

        def _list(self, query: dict[str, list[str]]) -> None:
            prefix, delimiter = (query.get(name, [""])[0] for name in ("prefix", "delimiter"))
            found, folders = [], set()
            for path in sorted(p for p in folder.rglob("*") if p.is_file()):
                key = path.relative_to(folder).as_posix()
                if not key.startswith(prefix):
                    continue
                head, slash, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
                if slash:
                    folders.add(prefix + head + "/")
                else:
                    found.append(
                        f"<Contents><Key>{escape(key)}</Key><Size>{path.stat().st_size}</Size>"
                        "<LastModified>2024-01-01T00:00:00.000Z</LastModified></Contents>"
                    )
            common = [
                f"<CommonPrefixes><Prefix>{escape(p)}</Prefix></CommonPrefixes>" for p in sorted(folders)
            ]
            count = len(found) + len(common)
            body = (
                f"<ListBucketResult><Name>{bucket}</Name><KeyCount>{count}</KeyCount>"
                f"<IsTruncated>false</IsTruncated>{''.join(found)}{''.join(common)}</ListBucketResult>"
            )
            self._answer(200, body.encode())

        def _answer(self, status: int, data: bytes, **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        options = f"?endpoint_override=127.0.0.1:{server.server_port}&scheme=http&region=us-east-1"
        yield f"s3://key:secret@{bucket}{options}", requests
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
