"""Stands in for the server where only the way to it is tested: answers with its own DD_* variables."""

from __future__ import annotations

import http.server
import json
import os
import signal
import sys


class Variables(http.server.BaseHTTPRequestHandler):
    """Every GET is answered with the configuration."""

    def do_GET(self) -> None:
        body = json.dumps({name: value for name, value in os.environ.items() if name.startswith("DD_")}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    port = int(os.environ["DD_SERVER_PORT"])
    http.server.ThreadingHTTPServer(("127.0.0.1", port), Variables).serve_forever()
