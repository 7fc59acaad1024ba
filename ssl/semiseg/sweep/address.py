"""Addresses of Ray clusters: whether anything answers there, found out in seconds and without ray, which would wait for minutes."""

import socket

from semiseg.config import SettingError


def host_and_port(address: str) -> tuple[str, int] | None:
    """Where something must listen for an address to be of use; None for "auto" and "local", which Ray looks up itself."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon and address.startswith("ray://"):
        return address.removeprefix("ray://"), 10001
    if address in ("auto", "local") or not colon:
        return None
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise SettingError(f"ray.address: got {address!r}; allowed: host:port, ray://host:port or auto")
    return host, int(port)


def reached(host: str, port: int, address: str, limit: float) -> None:
    """Raise SettingError unless something accepts connections there."""
    try:
        socket.create_connection((host, port), timeout=limit).close()
    except OSError as error:
        reason = error.strerror or error
        raise SettingError(
            f"ray.address: nothing answers at {address} ({reason}); allowed: the address of a running cluster"
        ) from None
