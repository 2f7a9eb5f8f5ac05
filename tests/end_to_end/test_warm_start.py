"""The warm start of a whole run: once, before the first step, from demonstrations."""

import numpy as np
import pytest

from e2hil_rllib.algorithm import E2HiL
from tests.helpers import policy_weights, same_arrays
from tests.test_algorithm import make_config, write_demonstrations

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_session")]


@pytest.fixture
def config(tmp_path):
    write_demonstrations(tmp_path / "recorded")
    c = make_config().human_in_the_loop(demonstrations=tmp_path / "recorded")
    return c.imitation(warm_start_updates=20)


def test_it_happens_once_and_acting_begins_with_what_it_learned(config):
    algo = config.build_algo()
    seen = []
    drawn = policy_weights(algo)
    assert algo.warm_start(lambda done, total: seen.append((done, total))) == 20
    assert seen == [(n, 20) for n in range(1, 21)]
    learned = policy_weights(algo)
    for actor in ("actor", "target_actor"):
        name = f"{actor}.head.weight"
        assert not np.array_equal(drawn[name], learned[name])
    acting = algo.env_runner_group.local_env_runner.module.state_dict()
    name = "target_actor.head.weight"  # the average of the learned policies acts
    assert np.array_equal(acting[name].numpy(), learned[name])
    assert algo.warm_start() == 0
    assert same_arrays(policy_weights(algo), learned)
    result = algo.train()
    assert result["num_updates_lifetime"] == 2 * (60 - 4)
    algo.stop()


def test_the_first_iteration_does_it_where_nobody_has(config):
    algo = config.build_algo()
    algo.train()
    assert algo.warm_start() == 0
    algo.stop()


def test_a_resumed_run_skips_it(config, tmp_path):
    algo = config.build_algo()
    algo.warm_start()
    algo.save_to_path(tmp_path / "checkpoint")
    restored = E2HiL.from_checkpoint(tmp_path / "checkpoint")
    assert restored.warm_start() == 0
    assert same_arrays(policy_weights(algo), policy_weights(restored))
    for a in (algo, restored):
        a.stop()


def test_without_demonstrations_there_is_nothing_to_start_from():
    algo = make_config().imitation(warm_start_updates=20).build_algo()
    assert algo.warm_start() == 0
    algo.stop()


def test_one_seed_gives_one_warm_start(config):
    first, second = config.copy(copy_frozen=False), config
    weights = []
    for c in (first, second):
        algo = c.build_algo()
        algo.warm_start()
        weights.append(policy_weights(algo))
        algo.stop()
    assert same_arrays(*weights)
