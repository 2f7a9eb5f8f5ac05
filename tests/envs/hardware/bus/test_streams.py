"""Small run of the benchmark of the bus: effects of a bad line."""

import pytest

from tests.benchmarks.bench_bus import Outcome, parse_streams


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    return parse_streams(60_000, seed=1)


@pytest.mark.parametrize("kind", ["truncated", "a byte lost", "one byte changed", "random bytes"])
def test_damaged_answers_never_pass(kind: str, outcomes: dict[str, Outcome]) -> None:
    assert outcomes[kind].streams >= 3000
    assert outcomes[kind].passed == outcomes[kind].intact == 0


@pytest.mark.parametrize("kind", ["whole", "behind garbage"])
def test_intact_answers_are_found(kind: str, outcomes: dict[str, Outcome]) -> None:
    assert outcomes[kind].intact == outcomes[kind].streams == 3000


def test_few_of_several_changed_bytes_pass_and_most_of_those_are_implausible(
    outcomes: dict[str, Outcome],
) -> None:
    outcome = outcomes["2 to 6 bytes changed"]
    assert 0 < outcome.passed <= outcome.streams / 256
    assert outcome.intact == 0
    assert outcome.stranger + outcome.doubted > 2 * outcome.believed
