"""Fetch what is missing under --data.root with torchvision, whose classes hold the addresses and checksums (`--data.download`)."""

import importlib
import tarfile
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any

from semiseg.config import Data, SettingError
from semiseg.data.dataset import DataSet

FAILURES = (OSError, RuntimeError, ValueError, EOFError, tarfile.TarError, HTTPException)
"""What torchvision raises without a connection, at a wrong checksum, for an archive cut short and where it may not write."""


def download(known: Mapping[str, DataSet], data: Data) -> None:
    """Fetch what `data` names unless its files are there; SettingError when it cannot be fetched.

    Files that are there are not looked into: what a fetch cut short has left has to be deleted by hand.
    """
    fetch, site = known[data.name].fetch, known[data.name].site
    if fetch is None:
        by_hand = f"; get {data.name} by hand from {site}" if site else ""
        fetched = ", ".join(name for name, one in known.items() if one.fetch)
        raise SettingError(f"data.download: got True for {data.name}; allowed: for {fetched}{by_hand}")
    if data.root is None:
        raise SettingError(f"data.root: got None; allowed: the folder into which --data.download puts {data.name}")
    try:
        fetch(data.root.resolve())
    except FAILURES as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SettingError(
            f"data.download: {data.name} cannot be fetched to {data.root} ({reason}); allowed: with a connection to its site"
        ) from None


def torchvision(name: str) -> Any:
    """A class of torchvision.datasets; imported here and not above, since it imports torch."""
    return getattr(importlib.import_module("torchvision.datasets"), name)


def above(root: Path, folder: str) -> Path:
    """Where torchvision has to make `folder`, which --data.root may itself be."""
    return root.parent if root.name == folder else root
