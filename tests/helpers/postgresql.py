"""A PostgreSQL server of the tests' own: its data in a folder that goes with it, reached through a socket in that folder."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "the Debian package postgresql (or initdb and postgres in PATH) is not installed"
USER = "postgres"  # the server refuses to run as root
SETTINGS = ["fsync=off", "full_page_writes=off", "listen_addresses=", "max_connections=100"]
# told to stop (INT) the server stops; when this process ends, however it ends, the pipe closes, and its folder ($0) goes too
WATCHED = '"$@" & server=$!; read told; kill -s ${told:-QUIT} $server; wait $server; [ "$told" ] || rm -rf "$0"'


def programs() -> Path | None:
    """The folder of initdb and postgres; None where they are not installed."""
    found = shutil.which("initdb")
    folders = [] if found is None else [Path(found).resolve().parent]
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name))
    return next((folder for folder in reversed(folders) if (folder / "postgres").exists()), None)


class Server:
    """One server; `start` and `stop` may be called again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._as_user: list[str] = []
        if os.geteuid() == 0:
            account = pwd.getpwnam(USER)
            os.chown(folder, account.pw_uid, account.pw_gid)
            ids = [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
            self._as_user = ["setpriv", *ids]
        self._process: subprocess.Popen[bytes] | None = None
        made = self._run("initdb", "-D", str(folder / "data"), "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync")
        assert made.returncode == 0, made.stdout

    def url(self, database: str) -> str:
        """For Optuna and for compare()."""
        return f"postgresql+psycopg://{USER}@/{database}?host={self._folder}"

    def new_database(self) -> str:
        """The URL of an empty one."""
        name = f"test_{uuid.uuid4().hex}"
        self.sql("postgres", f"CREATE DATABASE {name}")
        return self.url(name)

    def sql(self, database: str, statement: str) -> str:
        """What psql answers."""
        answer = self._run("psql", "-qAt", "-h", str(self._folder), "-U", USER, "-d", database, "-c", statement)
        assert answer.returncode == 0, answer.stdout
        return answer.stdout.strip()

    def start(self) -> None:
        """Start it and wait until it answers."""
        settings = [word for each in [*SETTINGS, f"unix_socket_directories={self._folder}"] for word in ("-c", each)]
        with (self._folder / "log").open("ab") as log:
            server = self._command("postgres", "-D", str(self._folder / "data"), *settings)
            command = ["sh", "-c", WATCHED, str(self._folder), *server]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=self._folder)
        deadline = time.monotonic() + 60
        while self._run("pg_isready", "-h", str(self._folder)).returncode != 0:
            assert self._process.poll() is None, (self._folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it, as `pg_ctl stop -m fast` does: who is connected is thrown out."""
        if self._process is not None:
            self._process.communicate(b"INT\n")
            self._process = None

    def drop(self) -> None:
        """Stop it at once; what it holds is not needed any more."""
        if self._process is not None:
            self._process.communicate()  # closes the pipe
            self._process = None

    def _run(self, program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = self._command(program, *arguments)
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=self._folder)

    def _command(self, program: str, *arguments: str) -> list[str]:
        folder = programs()
        assert folder is not None, PACKAGE
        return [*self._as_user, str(folder / program), *arguments]


@contextlib.contextmanager
def running_server() -> Iterator[Server]:
    """A started server, stopped and deleted in the end."""
    # not in tmp_path: a socket's path must be short, and the server's user must be able to enter
    folder = Path(tempfile.mkdtemp(prefix="lr_search-pg-", dir="/tmp"))
    try:
        server = Server(folder)
        try:
            server.start()
            yield server
        finally:
            server.drop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
