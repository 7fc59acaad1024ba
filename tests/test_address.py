"""Addresses of Ray clusters: how they are read, and what is found out about them before Ray is asked."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from ray._private.utils import write_ray_address

from semiseg.config import SettingError
from semiseg.sweep.address import current_cluster, host_and_port, reached
from semiseg.sweep.cluster import connected


@contextmanager
def silent_server() -> Iterator[int]:
    """A port that accepts connections and never says a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


@contextmanager
def talking_server(said: bytes) -> Iterator[int]:
    """A port that says something to whoever connects."""

    def serve() -> None:
        with suppress(OSError), server.accept()[0] as connection:
            connection.recv(100)
            connection.sendall(said)

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("local", None),
        ("127.0.0.1:6379", ("127.0.0.1", 6379)),
        ("ray://head:10001", ("head", 10001)),
        ("ray://head", ("head", 10001)),
    ],
)
def test_addresses_are_read(address: str, found: tuple[str, int] | None) -> None:
    assert host_and_port(address) == found


def test_auto_is_what_ray_start_has_joined_and_no_private_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is the one that Ray writes."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    assert current_cluster() is None
    (tmp_path / "ray").mkdir()
    write_ray_address(f"127.0.0.1:{free_port()}", str(tmp_path / "ray"))
    joined = current_cluster()
    assert joined is not None
    with pytest.raises(SettingError, match=f"^ray.address: nothing answers at {joined} "):
        connected("auto", {}, 1)
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    assert current_cluster() == "ray://head:10001"


@pytest.mark.parametrize("address", ["head:port", "head:0", "head:70000", "ray://head:x"])
def test_addresses_without_a_port_number_are_refused(address: str) -> None:
    with pytest.raises(SettingError, match=r"^ray.address: got '.*'; allowed: host:port, ray://host:port or auto$"):
        host_and_port(address)


def test_a_port_where_nothing_listens_is_found_out_at_once() -> None:
    with pytest.raises(SettingError, match=r"^ray.address: nothing answers at here \(Connection refused\)"):
        reached("127.0.0.1", free_port(), "here", 5)


def test_only_what_answers_as_grpc_does_is_taken_for_a_cluster() -> None:
    """Ray itself would talk to another server for minutes, and hears no Ctrl-C meanwhile."""
    with talking_server(bytes([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100])) as port:  # settings: at most 100 streams
        reached("127.0.0.1", port, "here", 5)
    with silent_server() as port, pytest.raises(SettingError, match=r"^ray.address: nothing answers at here \(timed out\); "):
        reached("127.0.0.1", port, "here", 0.3)
    for said in (b"", b"HTTP/1.0 400 Bad request\r\n", b"-ERR unknown command\r\n"):
        with talking_server(said) as port, pytest.raises(SettingError, match=r"at here \(it is no Ray cluster\); allowed: "):
            reached("127.0.0.1", port, "here", 5)
