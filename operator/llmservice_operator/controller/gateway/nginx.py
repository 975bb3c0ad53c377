"""NGINX as a child process: start, reload with a configuration that it accepts, graceful stop."""

import asyncio
import contextlib
import hashlib
import logging
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import aiohttp

from llmservice_operator.gateway.configuration import Configuration, render

PROGRAM = "/usr/sbin/nginx"
TEST_SECONDS = 30.0
START_SECONDS = 30.0
LISTENING_INTERVAL = 0.02
CONTROL_SECONDS = 30.0
LONGEST_ANSWER = 2000
LONGEST_LIST = 2**20
CERTIFICATE_FILES = ("tls.crt", "tls.key")

logger = logging.getLogger(__name__)


class Refused(Exception):
    """NGINX refused a configuration, or routes. The text is what it said."""


class Nginx:
    """One NGINX. ``certificates`` is the directory whose certificate it serves; None: no TLS."""

    def __init__(self, configuration: Configuration, certificates: Path | None, program: str = PROGRAM) -> None:
        self._configuration = configuration
        self._certificates = certificates
        self._program = program
        self._directory = configuration.directory
        self._tried = ""
        """Digest of the certificate that was tried last."""
        self._served: Path | None = None
        """The copy of the certificate that NGINX serves."""
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Starts it; it listens then, or has ended. Raises Refused if it doesn't accept its configuration."""
        self._directory.mkdir(parents=True, exist_ok=True)
        self._control.unlink(missing_ok=True)
        await self._accept()
        command = self._command(self._directory / "nginx.conf")
        self._process = await asyncio.create_subprocess_exec(*command, start_new_session=True)
        try:
            async with asyncio.timeout(START_SECONDS):
                while self._process.returncode is None and not self._control.exists():  # noqa: ASYNC110 (NGINX makes it)
                    await asyncio.sleep(LISTENING_INTERVAL)
        except TimeoutError:
            self.kill()
            raise Refused(f"it does not listen after {START_SECONDS:.0f} s") from None

    @property
    def _control(self) -> Path:
        """The socket that takes routes."""
        return self._directory / "control.sock"

    async def wait(self) -> int:
        """Its exit status. Its workers have ended, too, although its main process was killed."""
        if self._process is None:
            return 0
        status = await self._process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        return status

    async def reload(self) -> bool:
        """Reloads it if the certificate has changed. Whether it did. Raises Refused if it keeps what it has."""
        if self._certificates is None or _digest(self._certificates) == self._tried:
            return False
        await self._accept()
        self._signal(signal.SIGHUP)
        return True

    def stop(self) -> None:
        """Asks it to end when all requests have."""
        self._signal(signal.SIGQUIT)

    def kill(self) -> None:
        """Ends it with all requests."""
        self._signal(signal.SIGTERM)

    async def post(self, path: str, body: bytes) -> None:
        """Gives it routes or a fact. Raises Refused, or OSError if it does not answer."""
        await self._ask("POST", path, LONGEST_ANSWER, body)

    async def get(self, path: str) -> bytes:
        """Asks it for something. Raises Refused, or OSError if it does not answer."""
        return await self._ask("GET", path, LONGEST_LIST)

    async def _ask(self, method: str, path: str, longest: int, body: bytes | None = None) -> bytes:
        connector = aiohttp.UnixConnector(str(self._control))
        timeout = aiohttp.ClientTimeout(total=CONTROL_SECONDS)
        answer = bytearray()
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
                session.request(method, f"http://control{path}", data=body) as response,
            ):
                async for part in response.content.iter_any():
                    answer += part[: longest - len(answer)]
        except (aiohttp.ClientError, TimeoutError) as error:
            raise OSError(f"NGINX does not answer: {type(error).__name__}: {error}") from error
        if response.status >= 400:
            raise Refused(answer[:LONGEST_ANSWER].decode(errors="replace"))
        return bytes(answer)

    async def _accept(self) -> None:
        """Makes the current settings and certificate NGINX's configuration, if `nginx -t` accepts them."""
        configuration, copied = self._configuration, None
        if self._certificates is not None:
            self._tried = _digest(self._certificates)
            copied = self._directory / f"tls-{self._tried[:16]}"
            _copy(self._certificates, copied)
            configuration = replace(configuration, tls=copied)
        new = self._directory / "nginx.conf.new"
        new.write_text(render(configuration))
        try:
            await self._test(new)
        except Refused:
            if copied is not None and copied != self._served:
                shutil.rmtree(copied, ignore_errors=True)
            raise
        new.replace(self._directory / "nginx.conf")
        if self._served is not None and self._served != copied:
            shutil.rmtree(self._served, ignore_errors=True)
        self._served = copied

    async def _test(self, file: Path) -> None:
        process = await asyncio.create_subprocess_exec(
            *self._command(file, "-t"), stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
        )
        try:
            _, said = await asyncio.wait_for(process.communicate(), TEST_SECONDS)
        except TimeoutError:
            process.kill()
            raise Refused("nginx -t did not end") from None
        if process.returncode:
            raise Refused(said.decode(errors="replace")[-LONGEST_ANSWER:])

    def _command(self, file: Path, *more: str) -> tuple[str, ...]:
        return (self._program, "-p", str(self._directory), "-e", "stderr", "-c", str(file), *more)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)


def _digest(certificates: Path) -> str:
    found = hashlib.sha256()
    for name in CERTIFICATE_FILES:
        found.update(hashlib.sha256((certificates / name).read_bytes()).digest())
    return found.hexdigest()


def _copy(certificates: Path, target: Path) -> None:
    """A copy, so that a later reload or a crash of a worker never finds one that was not tested."""
    target.mkdir(mode=0o700, exist_ok=True)
    for name in CERTIFICATE_FILES:
        file = os.open(target / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(file, "wb") as opened:
            opened.write((certificates / name).read_bytes())
