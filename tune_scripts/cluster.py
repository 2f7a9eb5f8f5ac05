"""Ray during an experiment: started here, or joined as a cluster."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import ray

from e2hil_rllib.settings.build import quiet_ray
from tune_scripts.compare.plan import PlanError

_OBJECT_STORE = 100 * 2**20  # small, since trials exchange no data [bytes]
_PATIENCE = 5.0  # timeout of a cluster's port [s]
_AUTH_MODE = "RAY_AUTH_MODE"


@dataclass(frozen=True)
class Share:
    """Share of a machine that a trial takes."""

    cpus: float = 1
    gpus: float = 0


ONE_CPU = Share()


@contextmanager
def ray_running(address: str | None, share: Share) -> Iterator[None]:
    """Run Ray during an experiment.

    Args:
        address: Address of a Ray cluster to join; None uses the Ray that runs in this process, or
            starts one here.
        share: Share of a machine for each trial.

    Raises:
        PlanError: The cluster cannot be joined (as when this process is in one already), or no
            machine has such a share.
    """
    quiet_ray()
    started_here = bool(address) or not ray.is_initialized()
    if started_here:
        _join(address) if address else _start()
    try:
        _check_share(share)
        yield
    finally:
        if started_here:
            ray.shutdown()


def _check_share(share: Share) -> None:
    """Refuse a share that no single machine has, since a trial runs on one machine."""
    machines = [
        (node["Resources"].get("CPU", 0), node["Resources"].get("GPU", 0))
        for node in ray.nodes()
        if node["Alive"]
    ]
    if not any(cpus >= share.cpus and gpus >= share.gpus for cpus, gpus in machines):
        found = "; ".join(f"{cpus:g} CPUs and {gpus:g} GPUs" for cpus, gpus in machines)
        raise PlanError(
            f"No machine of Ray has --cpus-per-trial {share.cpus:g} and --gpus-per-trial "
            f"{share.gpus:g}, so that no trial could start. Machines: {found or 'none'}. "
            "Give a smaller share, or a cluster by --address."
        )


def _start() -> None:
    ray.init(
        address="local",
        include_dashboard=False,
        object_store_memory=_OBJECT_STORE,
        log_to_driver=False,  # a trial writes its own log, errors come as exceptions
        logging_level=logging.ERROR,
    )


def _join(address: str) -> None:
    _check_port(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError, AssertionError) as error:
        raise PlanError(
            f"The Ray cluster at --address {address} cannot be joined: {error}. Give host:port as "
            "`ray status` names it, or auto for one of this machine. A cluster that wants a token "
            f"needs {_AUTH_MODE}=token and the token of its machines here, too ({_AUTH_MODE} is "
            f"{os.environ.get(_AUTH_MODE, 'not set')})."
        ) from error


def _check_port(address: str) -> None:
    """Refuse an address that does not answer, which Ray itself would try for minutes."""
    host, colon, port = address.rpartition(":")
    if not colon or "/" in address or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), _PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise PlanError(
            f"Nobody answers at --address {address} ({error}). Start the cluster with `ray start "
            "--head`, and give the address that it names."
        ) from error
