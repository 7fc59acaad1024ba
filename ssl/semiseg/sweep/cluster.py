"""Ray on this machine or another one: started, joined and ended. Beside `tune` the only module that imports ray."""

import contextlib
import gc
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no telemetry; read when ray is imported
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # our store keeps the results
os.environ.setdefault("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "86400")  # of an experiment that is never restored

import ray

from semiseg.config import SettingError
from semiseg.machine import usable_cpus
from semiseg.nets.weights import brief
from semiseg.outside import temporary_place
from semiseg.sweep.address import current_cluster, host_and_port, reached
from semiseg.sweep.resources import Ray, slots_of
from semiseg.sweep.stop import endings_blocked, stopping
from semiseg.waiting import wait_for

LONGEST_FOLDER = 40
"""Characters of a temporary folder below which Ray can make its sockets."""
inherited: dict[str, str] = {}
"""The environment of the processes of a private Ray that runs; without one nothing."""
KEPT = "60000"
"""Milliseconds after which Ray may end a process that it has begun to warm; by its own second it ends some that are just being given."""
WARM = "torch,semiseg.sweep.tune,semiseg.train"
"""What a trial's process imports while the plan is made."""


def connected(address: str | None, options: dict[str, Any], limit: float) -> Any:
    """What `ray.init` says. SettingError, one line, when Ray cannot start, or nothing answers at the address within `limit` seconds."""
    allowed = "the address of a running cluster (host:port, ray://host:port, or auto on one of its machines)"
    if address == "auto" and (address := current_cluster()) is None:
        raise SettingError(
            f"ray.address: Ray cannot join auto (ray start has joined none, RAY_ADDRESS is not set); allowed: {allowed}"
        )
    if address is not None and (place := host_and_port(address)) is not None:
        wait_for(partial(reached, *place, address, limit), f"ray.address {address}", limit=limit + 5, allowed=allowed)
    try:
        return ray.init(address=address or "local", **options)
    except Exception as error:  # noqa: BLE001  Ray raises Exception itself where a full disk keeps it from starting
        name, what = ("ray.address", allowed) if address else ("ray", "a machine on which Ray starts")
        raise SettingError(
            f"{name}: Ray cannot {'join ' + address if address else 'start'} ({brief(error)}); allowed: {what}"
        ) from None


def slots(settings: Ray) -> int:
    """Stages that fit on the cluster at once. Raises SettingError when not even one does."""
    return slots_of(settings, ray.cluster_resources())


def begin(settings: Ray, limit: float) -> Callable[[], None]:
    """Start Ray, or join it, unless that has been done; what ends it. SettingError when that does not work within `limit` seconds."""
    if ray.is_initialized():
        return lambda: None
    if settings.address is None and not os.access(os.path.expanduser("~"), os.W_OK):
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # Ray keeps its token at home; the private cluster is loopback only
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    if settings.address is None:
        used = min(settings.expected_slots() * settings.cpus_per_trial, usable_cpus())
        options |= {"include_dashboard": settings.dashboard, "dashboard_host": "127.0.0.1", "num_cpus": used}
        if len(temporary_place()) > LONGEST_FOLDER:  # Ray's sockets lie below, whose paths have at most 107 characters
            options["_temp_dir"] = "/tmp/ray"
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        # `timeout`, systemd and slurm send SIGTERM to the whole process group: Ray's processes inherit the mask, so that the
        # trials live on until they have saved their checkpoints
        few = contextlib.nullcontext() if settings.dashboard or settings.address else few_daemons()
        with endings_blocked(), few, environment({} if settings.address else warming(settings)):
            context = connected(settings.address, options, limit)
        if settings.address is None:
            inherited.update(os.environ)
    except BaseException:
        end()
        raise
    if settings.dashboard:
        url = context.dashboard_url or "not offered by the cluster"
        url = url if "://" in url else f"http://{url}"
        print(f"Ray dashboard: {url} (it asks for a token: `ray get-auth-token` prints it)", flush=True)
    return end


def end() -> None:
    """End or leave what `begin` has started or joined."""
    inherited.clear()
    ray.shutdown()


def warming(settings: Ray) -> dict[str, str]:
    """Variables with which a private Ray begins a process for every CPU that imports what a trial needs."""
    return {
        "RAY_preload_python_modules": WARM,
        "RAY_idle_worker_killing_time_threshold_ms": KEPT,
        "RAY_prestart_worker_first_driver": str(int(settings.cpus_per_trial == 1)),
    }


@contextlib.contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Those variables for the time of a with block, where they are not set already."""
    added = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextlib.contextmanager
def few_daemons() -> Iterator[None]:
    """Ray starts what trains and no more: no autoscaler, no tailing of logs, no server of a dashboard, which take a CPU second and
    80 to 120 MiB each. A Ray without these private names starts all."""
    try:
        from ray._private.node import Node
    except ImportError:
        yield
        return
    kept = {name: getattr(Node, name) for name in ("start_monitor", "start_log_monitor", "start_api_server") if hasattr(Node, name)}
    for name in kept:
        setattr(Node, name, lambda *_, **__: None)
    try:
        yield
    finally:
        for name, method in kept.items():
            setattr(Node, name, method)


@contextlib.contextmanager
def running(settings: Ray, limit: float) -> Iterator[None]:
    """Ray, started, joined or as it runs already, for the time of a with block. SettingError when that does not work within `limit`
    seconds."""
    close = begin(settings, limit)
    try:
        with stopping():  # Ray has put a SIGTERM handler of its own over ours
            yield
    finally:
        gc.collect()  # what Tune leaves holds references of Ray's: Ray ends the process, status 1, where one goes after its end
        close()
