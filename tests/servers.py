"""Real servers on loopback for tests: sshd with SFTP, an S3 store, and a line that can be cut."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes], seconds: float = 20) -> None:
    """Waits until somebody listens on the port."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert process.poll() is None, "the server ended"
        time.sleep(0.05)
    raise AssertionError("the server does not answer")


@contextlib.contextmanager
def running(*command: str, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A program that does not outlive the test."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=quiet, stderr=quiet, env=env, start_new_session=True)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@dataclass(frozen=True)
class Sshd:
    """An sshd of our own, and what a client needs to come in."""

    port: int
    user: str
    key: Path
    known_hosts: Path

    def options(self) -> tuple[str, ...]:
        """The flags of ``rgan runs sync``."""
        key, known = f"key_filename={self.key}", f"known_hosts={self.known_hosts}"
        return "--option", key, "--option", known

    def sftp(self, path: Path, port: int | None = None) -> str:
        """The address of a folder by SFTP."""
        return f"sftp://{self.user}@127.0.0.1:{port or self.port}{path}"

    def ssh(self, path: Path, port: int | None = None) -> str:
        """The address of a folder by the ssh program."""
        return f"ssh://{self.user}@127.0.0.1:{port or self.port}{path}"

    def knows(self, port: int) -> None:
        """Adds the key of this server under another port, that of a line to it."""
        key = (self.known_hosts.parent / "host_key.pub").read_text().split()[:2]
        with self.known_hosts.open("a") as file:
            file.write(f"[127.0.0.1]:{port} {' '.join(key)}\n")


@contextlib.contextmanager
def sshd(folder: Path, *settings: str) -> Iterator[Sshd]:
    """OpenSSH's server on a free port, with a host key and a user key of its own."""
    program = shutil.which("sshd") or "/usr/sbin/sshd"
    if not Path(program).exists() or shutil.which("ssh-keygen") is None:
        pytest.skip("there is no sshd here: apt install openssh-server")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(parents=True, exist_ok=True)  # sshd as root wants it
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("host_key", "user_key"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True)
    (folder / "authorized_keys").write_bytes((folder / "user_key.pub").read_bytes())
    port = free_port()
    config = folder / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nPidFile none\nStrictModes no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\n"
        "PermitRootLogin yes\nSubsystem sftp internal-sftp\nMaxStartups 100\n"
        + "".join(f"{line}\n" for line in settings)
    )
    server = Sshd(port, getpass.getuser(), folder / "user_key", folder / "known_hosts")
    server.known_hosts.touch()
    server.knows(port)
    with running(program, "-D", "-e", "-f", str(config)) as process:
        wait_for(port, process)
        yield server


@contextlib.contextmanager
def s3() -> Iterator[str]:
    """moto's S3 server on a free port; gives its address."""
    pytest.importorskip("moto.server", reason="needs moto[server]")
    port = free_port()
    code = "import sys; from moto.server import main; main(sys.argv[1:])"
    command = (sys.executable, "-W", "ignore", "-c", code, "-H", "127.0.0.1", "-p", str(port))
    with running(*command, env={**os.environ, "PYTHONWARNINGS": "ignore"}) as process:
        wait_for(port, process)
        yield f"http://127.0.0.1:{port}"


class Line:
    """A line to a port that is cut after so many bytes, as often as is said; then it holds.

    Args:
        port: where it leads.
        after: bytes in both directions after which a connection is cut.
        times: how often; 0 for never.
    """

    def __init__(self, port: int, after: int, times: int = 1) -> None:
        self.target, self.after, self.times = port, after, times
        self.cuts = 0
        self.carried = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Line:
        self._start(self._accept)
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for thread in self._threads:
            thread.join(5)

    def _start(self, what: object, *arguments: object) -> None:
        thread = threading.Thread(target=what, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                return
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            budget = [self.after] if self.cuts < self.times else [1 << 62]
            self._start(self._carry, client, server, budget)
            self._start(self._carry, server, client, budget)

    def _carry(self, giver: socket.socket, taker: socket.socket, budget: list[int]) -> None:
        with contextlib.suppress(OSError):
            while data := giver.recv(16384):
                if budget[0] < 0:
                    break
                self.carried += len(data)
                budget[0] -= len(data)
                if budget[0] < 0:
                    self.cuts += 1
                    break
                taker.sendall(data)
        for end in (giver, taker):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
