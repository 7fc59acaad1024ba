"""What of this machine the process may use: CPUs and memory, as affinity, control groups and the system allow. Imports no torch."""

import os
import platform
from pathlib import Path

from semiseg.refusals import SettingError

CGROUP = Path("/sys/fs/cgroup")


def usable_cpus(cgroup: Path = CGROUP) -> int:
    """CPUs that this process may use: its affinity, and of a control group's quota the whole CPUs, at least one."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for quota, period in (_quota_v2(cgroup), _quota_v1(cgroup)):
        if quota > 0 and period > 0:
            found = min(found, max(int(quota / period), 1))
    return found


def usable_memory(cgroup: Path = CGROUP) -> int:
    """Bytes of memory that this process may use: those of the machine, or the limit of its control group where that is lower."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in (cgroup / "memory.max", cgroup / "memory" / "memory.limit_in_bytes"):
        limit = _number(file)
        if limit > 0:
            found = min(found, limit)
    return found


def _quota_v2(cgroup: Path) -> tuple[int, int]:
    words = _text(cgroup / "cpu.max").split()  # "max 100000" or "150000 100000"
    return (int(words[0]), int(words[1])) if len(words) == 2 and words[0].isdecimal() and words[1].isdecimal() else (0, 0)


def _quota_v1(cgroup: Path) -> tuple[int, int]:
    return _number(cgroup / "cpu" / "cpu.cfs_quota_us"), _number(cgroup / "cpu" / "cpu.cfs_period_us")


def _number(file: Path) -> int:
    text = _text(file).strip()
    return int(text) if text.isdecimal() else 0


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


def available_memory() -> int:
    """Bytes that this process can still take: what is free on the machine, or its container's limit where that is lower."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    except (OSError, ValueError, IndexError):  # another system than Linux
        free = []
    return min([usable_memory(), *free])


def cpu_kind(file: Path = Path("/proc/cpuinfo")) -> str:
    """The processor of this machine: what it is called, its family, model and stepping where the system says so."""
    said = [line.partition(":") for line in _text(file).split("\n\n")[0].splitlines()]
    known = {name.strip(): value.strip() for name, _, value in said}
    parts = [known[name] for name in ("model name", "cpu family", "model", "stepping") if name in known]
    return " ".join(parts) or platform.processor() or platform.machine()


def need_memory(name: str, value: object, needed: int, what: str) -> None:
    """Raise SettingError when a setting needs more bytes of memory than there are; `what` says what for."""
    available = available_memory()
    if needed > available:
        raise SettingError(
            f"{name}: got {value!r}, with which {what} takes {readable(needed)} of memory; allowed: what fits the {readable(available)} "
            "that are free"
        )


def readable(count: int) -> str:
    """Bytes in the unit that leaves few digits, such as "12.3 GB"."""
    for unit, factor in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count} bytes"
