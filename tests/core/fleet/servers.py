"""Places on the network for tests: a web server that serves ranges, and a bucket."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_HEAD(self):
        self._answer(with_body=False)

    def do_GET(self):
        self._answer(with_body=True)

    def _answer(self, with_body):
        path = self.server.root / self.path.lstrip("/")
        if not path.is_file():
            self.send_error(404)
            return
        data, status = path.read_bytes(), 200
        self.server.asked.append(self.headers.get("Range"))
        span = self.headers.get("Range")
        if span and self.server.has_ranges:
            first, last = span.removeprefix("bytes=").split("-")
            first, last = int(first), min(int(last or len(data) - 1), len(data) - 1)
            size, data, status = len(data), data[first : last + 1], 206
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        if self.server.has_ranges:
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{path.stat().st_mtime_ns}"')
        self.end_headers()
        if with_body:
            self.server.sent += len(data)
            self.wfile.write(data)


@contextmanager
def web_server(root: Path, has_ranges: bool = True):
    """Serves a folder; yields (address, server), whose `sent` counts bytes of bodies and `asked` lists ranges."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.root, server.has_ranges, server.sent, server.asked = root, has_ranges, 0, []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", server
    finally:
        server.shutdown()
        server.server_close()
