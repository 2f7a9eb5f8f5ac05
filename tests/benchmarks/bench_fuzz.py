"""What a robot feels while others send nonsense to its learner's server.

`python -m tests.benchmarks.bench_fuzz`. A server in a process of its own, a robot that delivers ten
chunks per second, and a fuzzer with up to 22 connections at a time, six of which know the token;
then the same with TLS.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from tests.external.certificates import make_pair
from tests.external.fuzz_campaign import KNOWING, LOOPBACK, STRANGERS, Outcome, campaign


def milliseconds(latencies: list[float]) -> str:
    """The median, the 99th percentile and the largest of latencies in seconds."""
    median, high, largest = 1000 * np.percentile(latencies, [50, 99, 100])
    return f"p50 {median:4.0f} ms   p99 {high:4.0f} ms   largest {largest:4.0f} ms"


def show(outcome: Outcome) -> None:
    """Prints all figures."""
    before, early, after = outcome.figures
    total = outcome.sent.total()
    print(
        f"{total} messages in {outcome.seconds:.0f} s, {STRANGERS + KNOWING} connections at a time"
    )
    print("  " + ", ".join(f"{kind} {count}" for kind, count in sorted(outcome.sent.items())))
    print(
        f"connections   {after.opened} began, {after.reasons.total()} ended with a logged reason, "
        f"{after.turned_away} turned away, {len(after.defects)} ended by a defect of the server"
    )
    for reason, count in after.reasons.most_common(12):
        print(f"  {count:6d}  {reason}")
    print(
        f"memory        {before.resident:.1f} MiB before, {early.resident:.1f} MiB after a second, "
        f"{after.resident:.1f} MiB at the end"
    )
    print(f"acknowledged  alone         {milliseconds(outcome.calm)}")
    print(f"              fuzzed        {milliseconds(outcome.fuzzed)}")
    print(f"welcomed      another robot {milliseconds(outcome.welcomes)}")
    print(
        f"delivered     {outcome.delivered} chunks, "
        f"{'each' if outcome.is_exact else 'NOT each'} exactly once and in order; the robot's "
        f"connection was lost {outcome.reconnections} times",
        flush=True,
    )


def main(
    messages: int = 100_000, messages_with_tls: int = 20_000, calm: float = 20.0
) -> list[Outcome]:
    """Prints all figures and returns them, without TLS and with it.

    Args:
        messages: Fuzzed ones without TLS.
        messages_with_tls: And with it.
        calm: How long the robot works alone first, each time [s].
    """
    outcomes = []
    for name, count in (("plain", messages), ("TLS", messages_with_tls)):
        with tempfile.TemporaryDirectory() as folder:
            pair = make_pair(Path(folder), LOOPBACK) if name == "TLS" else None
            print(f"-- {name}", flush=True)
            outcomes.append(campaign(Path(folder), count, calm, seed=1, pair=pair))
        show(outcomes[-1])
    return outcomes


if __name__ == "__main__":
    main()
