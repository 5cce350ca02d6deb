"""Which Ray cluster is meant, and whether it answers."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
from urllib.parse import urlsplit

from lr_search.errors import ClusterError, require

VARIABLE = "RAY_ADDRESS"
RUN_THERE = "Run the program on one of the cluster's machines, e.g. with `ray job submit`"
# ray.init tries for many minutes where something else listens at the address, and cannot be interrupted meanwhile: so a
# process that can be killed tries first
ATTEMPT = """
import sys, ray
print("begins", flush=True)
ray.init(address=sys.argv[1], logging_level="CRITICAL", log_to_driver=False)
ray.shutdown()
"""


def chosen_address(address: str | None) -> str:
    """The address that is meant: "local" (a Ray of this program's own), "auto", or "host:port".

    Args:
        address: what the user gave. None: what the environment variable RAY_ADDRESS names, else "local".

    Raises:
        InvalidInputError: it is none of these.

    >>> chosen("node1:6379")
    'node1:6379'
    """
    set_outside = os.environ.get(VARIABLE, "").strip()
    if address in (None, "auto") and set_outside:
        return _checked(VARIABLE, set_outside)
    return "local" if address is None else _checked("address", address)


def _checked(name: str, address: object) -> str:
    text = address.strip() if isinstance(address, str) else ""
    scheme = text.partition("://")[0] if "://" in text else ""
    require(
        scheme != "ray",
        "A comparison's own process must run on the cluster, which the Ray Client (ray://) cannot do",
        f"{RUN_THERE}: ray job submit --working-dir . -- python script.py",
        **{name: address},
    )
    require(
        scheme not in ("http", "https"),
        "A cluster's address must be that of its head node, host:port; http:// is that of its dashboard, which takes jobs",
        f"ray job submit --address {text} --working-dir . -- python script.py",
        **{name: address},
    )
    good = not scheme and (text in ("local", "auto") or _host_and_port(text) is not None)
    require(
        good, "A cluster's address must be 'auto', 'local' or 'host:port', such as '10.0.0.5:6379'", **{name: address}
    )
    return text


def _address_text(address: str) -> str:
    outside = os.environ.get(VARIABLE, "").strip() == address
    return f"{address} (the environment variable {VARIABLE})" if outside else address


def _host_and_port(address: str) -> tuple[str, int] | None:
    try:
        parts = urlsplit(f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    return (host, port) if host and port and parts.netloc == address and "@" not in address else None


def same(address: str, running: str) -> bool:
    """Whether an address is that of the cluster at `running`, an IP address and port."""
    given, actual = _host_and_port(address), _host_and_port(running)
    if given is None or actual is None or given[1] != actual[1]:
        return False
    try:
        ours, theirs = ({info[4][0] for info in socket.getaddrinfo(host, None)} for host in (given[0], actual[0]))
    except OSError:
        return False
    return bool(ours & theirs) or (_here(ours) and _here(theirs))


def _here(addresses: set[str | int]) -> bool:
    """Whether one of these is this machine's: only then a socket can be bound to it."""
    for address in addresses:
        with socket.socket(socket.AF_INET6 if ":" in str(address) else socket.AF_INET) as listener:
            try:
                listener.bind((str(address), 0))
            except OSError:
                continue
            return True
    return False


def require_answer(address: str, timeout_seconds: float) -> None:
    """Raises: ClusterError: no Ray cluster answers at the address in that time, or this program cannot join it."""
    place = _host_and_port(address)
    if place is not None:
        try:
            socket.create_connection(place, timeout_seconds).close()
        except OSError as error:
            raise ClusterError(
                f"A running Ray cluster must answer at {_address_text(address)}, but nothing does: {error}. "
                "`ray status` on the cluster's head node says whether it runs, `ray start --head` starts one."
            ) from error
    failed = _attempt(address, timeout_seconds)
    if failed is not None:
        raise ClusterError(_explained(address, failed, timeout_seconds))


def _attempt(address: str, timeout_seconds: float) -> str | None:
    """Join the cluster in another process. Returns: None, or what that wrote; "" where it did not end in time."""
    environment = {
        **os.environ,
        "RAY_JOB_CONFIG_JSON_ENV_VAR": "{}",  # of `ray job submit`: it is not this process that is the job
        "RAY_gcs_server_port_wait_time_s": "1",  # one try; more wait for a cluster that is being started
        "RAY_gcs_server_request_timeout_seconds": str(max(1, int(timeout_seconds / 2))),
    }
    command = [sys.executable, "-P", "-W", "ignore", "-c", ATTEMPT, address]
    with tempfile.TemporaryFile("w+") as written:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=written
        )
        try:
            if process.stdout is not None:
                process.stdout.readline()  # Ray is imported; the time runs from here
            if process.wait(timeout_seconds) == 0:
                return None
        except subprocess.TimeoutExpired:
            pass
        finally:
            process.kill()
            process.communicate()
        written.seek(0)
        return written.read()


def _explained(address: str, written: str, timeout_seconds: float) -> str:
    """Why a cluster cannot be joined, and what to do, from Ray's own words."""
    versions = re.findall(r"Ray: (\S+)\s+Python: (\S+)", written)
    if "Version mismatch" in written and len(versions) > 1:
        (ray_there, python_there), (ray_here, python_here) = versions[:2]
        return (
            f"The cluster at {address} must have the Ray and the Python of this program, but got Ray {ray_there} and Python "
            f"{python_there} there, Ray {ray_here} and Python {python_here} here. Install the same here, or run with "
            "`ray job submit`, which takes the cluster's own."
        )
    if "AuthenticationError" in written or "InvalidAuthToken" in written:
        return (
            f"The cluster at {_address_text(address)} takes only programs that have its token, and this one has not shown it. "
            "Set the environment variable RAY_AUTH_MODE=token, and have the cluster's token in ~/.ray/auth_token."
        )
    if "Could not find any running Ray instance" in written:
        return (
            "address='auto' must find a Ray cluster that runs on this machine, but there is none. Start one (ray start --head), "
            "give its address (host:port), or leave address out, for a Ray of this program's own."
        )
    if "No node info found" in written:
        return (
            f"A program joins the cluster at {address} through a Ray node on its own machine, but this machine has none. "
            f"{RUN_THERE}, or make this machine a node of it (ray start --address={address})."
        )
    lines = [line.strip() for line in written.splitlines() if line.strip()]
    reason = f" ({lines[-1]})" if lines else ""
    return (
        f"The Ray cluster at {_address_text(address)} must answer within {timeout_seconds:g} s, but did not{reason}. Either something else "
        "listens there (the port that `ray start --head` names is meant, usually 6379), or the cluster is down or very busy "
        "(timeout_seconds)."
    )
