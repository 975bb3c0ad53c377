"""A web page in Chromium, from Debian: its text once its script has ended."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from support.http_server import serving

PAGE_SECONDS = 120
PAGE = """<!doctype html><meta charset="utf-8"><body></body><script>
(async () => {{ {script} }})().then(
  value => document.body.textContent = "RESULT" + JSON.stringify(value) + "END",
  error => document.body.textContent = "RESULT" + JSON.stringify(error.name) + "END");
</script>"""


@contextlib.contextmanager
def web_page(script: str) -> Iterator[str]:
    """The address of a page with a script, the body of an asynchronous function. Its origin is the address."""
    page = PAGE.format(script=script).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as url:
        yield url


def result_of(url: str, directory: Path) -> str:
    """What the script of a page returned, as JSON; the name of the error if it failed."""
    program = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if program is None:
        pytest.fail("Chromium is not on this machine: apt-get install chromium-headless-shell")
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", f"--user-data-dir={directory}")
    command = [program, *flags, f"--virtual-time-budget={PAGE_SECONDS * 1000}", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PAGE_SECONDS)
    found = re.search(r"RESULT(.*)END", done.stdout)
    assert found, (done.stdout + done.stderr)[-2000:]
    return found[1]
