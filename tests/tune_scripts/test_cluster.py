"""Ray for an experiment: impossible shares and unreachable clusters."""

from __future__ import annotations

import socket

import pytest
import ray

from tune_scripts import cluster
from tune_scripts.cluster import ONE_CPU, Share, ray_running
from tune_scripts.compare.plan import PlanError


def test_a_share_that_no_machine_has_is_refused(monkeypatch):
    """A share that two machines have together is refused, too."""

    def machine(cpus: float, gpus: float, alive: bool = True) -> dict[str, object]:
        return {"Resources": {"CPU": cpus, "GPU": gpus}, "Alive": alive}

    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(
        ray, "nodes", lambda: [machine(2, 0), machine(1, 1), machine(8, 8, alive=False)]
    )
    for fitting in (Share(cpus=2), Share(cpus=0.5, gpus=0.5)):
        with ray_running(None, fitting):
            pass
    for unfit in (Share(cpus=3), Share(cpus=2, gpus=1), Share(cpus=1, gpus=2)):
        said = rf"--cpus-per-trial {unfit.cpus} and --gpus-per-trial {unfit.gpus}.*2 CPUs and 0 G"
        with pytest.raises(PlanError, match=said), ray_running(None, unfit):
            pass


def test_an_address_that_does_not_answer_is_refused_at_once():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: the port refuses
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        said = rf"Nobody answers at --address {address}.*ray start"
        with pytest.raises(PlanError, match=said), ray_running(address, ONE_CPU):
            pass


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:99999"])
def test_an_invalid_address_is_refused(address):
    with pytest.raises(PlanError, match=f"--address {address}"), ray_running(address, ONE_CPU):
        pass


@pytest.mark.slow
def test_an_address_is_refused_while_ray_is_running():
    """The trials would run here, whatever cluster was named."""
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        said = r"--address auto cannot be joined.*twice"
        with pytest.raises(PlanError, match=said), ray_running("auto", ONE_CPU):
            pass
        assert ray.is_initialized()  # it is the caller's
    finally:
        ray.shutdown()


def test_a_cluster_that_needs_a_token_is_explained(monkeypatch):
    def refuse(**arguments: object) -> None:
        raise ConnectionError("Failed to connect to Ray cluster")

    monkeypatch.setattr(cluster.ray, "init", refuse)
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    said = r"Failed to connect.*RAY_AUTH_MODE=token.*is not set"
    with pytest.raises(PlanError, match=said), ray_running("auto", ONE_CPU):
        pass
