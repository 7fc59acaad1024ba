"""Addresses of Ray clusters: whether anything answers there, found out in seconds and without ray, which would wait for minutes."""

import os
import socket
from pathlib import Path

from semiseg.config import SettingError

GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
"""With which a client begins HTTP/2, on which gRPC is built, and empty settings (RFC 9113, section 3.4)."""
SETTINGS = 4
"""Type of the frame with which a server must answer."""


def current_cluster() -> str | None:
    """The address that "auto" means: RAY_ADDRESS, or the cluster that this machine joined last by `ray start`; None where neither is.

    Ray itself would otherwise take any cluster it sees, such as the private one of another study, which ends with that.
    """
    if named := os.environ.get("RAY_ADDRESS", "").strip():
        return named
    try:
        place = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"  # as Ray looks for it
        return Path(place, "ray", "ray_current_cluster").read_text(encoding="utf-8").strip() or None
    except (OSError, ValueError):
        return None


def host_and_port(address: str) -> tuple[str, int] | None:
    """Where something must listen for an address to be of use; None for "local", which Ray looks up itself."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon and address.startswith("ray://"):
        return address.removeprefix("ray://"), 10001
    if address == "local" or not colon:
        return None
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise SettingError(f"ray.address: got {address!r}; allowed: host:port, ray://host:port or auto")
    return host, int(port)


def reached(host: str, port: int, address: str, limit: float) -> None:
    """Raise SettingError unless something there answers as a Ray cluster does, by gRPC; to another server Ray would talk for minutes."""
    try:
        with socket.create_connection((host, port), timeout=limit) as connection:
            connection.sendall(GREETING)
            with connection.makefile("rb") as stream:
                answer = stream.read(9)  # a frame's head
        if answer[3:4] != bytes([SETTINGS]) and os.environ.get("RAY_USE_TLS", "0") == "0":
            raise OSError("it is no Ray cluster")
    except OSError as error:
        reason = error.strerror or error
        raise SettingError(
            f"ray.address: nothing answers at {address} ({reason}); allowed: the address of a running cluster"
        ) from None
