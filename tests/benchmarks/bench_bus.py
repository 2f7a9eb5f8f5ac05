"""How much of a bad line passes for a reading, and how fast the servo bus is.

`python -m tests.benchmarks.bench_bus`. A million answers of telemetry are damaged and given to the
parser as the bus would; then a bus reads virtual servos, at once and at the speed of a real wire.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.hardware.bus.packets import OVERHEAD, Packet, PacketParser
from envs.hardware.bus.plausibility import objections
from envs.hardware.bus.registers import REGISTERS
from envs.hardware.bus.servo_bus import FeetechBus
from envs.hardware.bus.telemetry import TELEMETRY_ADDRESS, TELEMETRY_LENGTH, decode_block
from envs.virtual.plant import KinematicPlant
from envs.virtual.virtual_chain import VirtualChain
from envs.virtual.virtual_port import VirtualPort

Bytes = NDArray[np.uint8]

SIZE = TELEMETRY_LENGTH + OVERHEAD
CYCLE = 0.1
"""Time since the last reading [s]."""
IDS = tuple(range(1, 7))
BATCH = 50_000

SHARES = {
    "whole": 0.05,
    "truncated": 0.15,
    "a byte lost": 0.15,
    "one byte changed": 0.2,
    "2 to 6 bytes changed": 0.3,
    "random bytes": 0.1,
    "behind garbage": 0.05,
}
"""What happens to the answers, by the share of the streams."""


@dataclass
class Outcome:
    """What became of the streams of one kind.

    Attributes:
        streams: how many there were.
        intact: how many gave the true answer.
        passed: how many gave another answer in its place, with a valid checksum.
        stranger: of these, how many bore another motor's id, which the bus does not take.
        same: of the others, how many gave the same values (only unused bytes were changed).
        doubted: of the rest, how many the plausibility check caught.
    """

    streams: int = 0
    intact: int = 0
    passed: int = 0
    stranger: int = 0
    same: int = 0
    doubted: int = 0

    @property
    def believed(self) -> int:
        """How many wrong readings nothing caught."""
        return self.passed - self.stranger - self.same - self.doubted


def true_answers(rng: np.random.Generator, count: int) -> tuple[Bytes, Bytes]:
    """Returns answers with telemetry as an arm at work gives it, and the ones a cycle before.

    Both have the shape (count, 21).
    """
    ids = rng.integers(1, 7, count)
    before: dict[str, NDArray[np.int64]] = {
        "Present_Position": rng.integers(700, 3400, count),
        "Present_Velocity": rng.integers(-1500, 1500, count),
        "Present_Load": rng.integers(-600, 600, count),
        "Present_Voltage": rng.integers(115, 125, count),
        "Present_Temperature": rng.integers(28, 45, count),
        "Status": np.zeros(count, dtype=np.int64),
        "Moving": rng.integers(0, 2, count),
        "Present_Current": rng.integers(-150, 150, count),
    }
    now = before | {
        "Present_Position": before["Present_Position"] + rng.integers(-300, 300, count),
        "Present_Velocity": rng.integers(-1500, 1500, count),
        "Present_Load": rng.integers(-600, 600, count),
        "Present_Current": rng.integers(-150, 150, count),
    }
    return framed(ids, now), framed(ids, before)


def framed(ids: NDArray[np.int64], values: dict[str, NDArray[np.int64]]) -> Bytes:
    """Answers of these motors with these register values, shape (count, 21)."""
    rows = np.zeros((len(ids), SIZE), dtype=np.uint8)
    rows[:, :2] = 0xFF
    rows[:, 2] = ids
    rows[:, 3] = TELEMETRY_LENGTH + 2
    for name, column in values.items():
        register = REGISTERS[name]
        word = np.abs(column)
        if register.sign_bit is not None:
            word = word | (column < 0) << register.sign_bit
        for place in range(register.size):
            rows[:, 5 + register.address - TELEMETRY_ADDRESS + place] = word >> 8 * place & 0xFF
    rows[:, -1] = ~rows[:, 2:-1].sum(axis=1, dtype=np.int64) & 0xFF
    return rows


def damaged(rng: np.random.Generator, kind: str, rows: Bytes) -> Iterator[bytes]:
    """Yields a stream for each answer."""
    count = len(rows)
    if "changed" in kind:
        changes = np.ones(count) if kind.startswith("one") else rng.integers(2, 7, count)
        order = rng.random((count, SIZE)).argsort(axis=1)
        hit = order < changes[:, None]
        rows = np.where(hit, rows ^ rng.integers(1, 256, rows.shape, dtype=np.uint8), rows)
    cuts = rng.integers(0, SIZE, count)
    lengths = rng.integers(0, 64, count)
    garbage = rng.bytes(64 * count)
    data = rows.tobytes()
    for i in range(count):
        row = data[i * SIZE : (i + 1) * SIZE]
        noise = garbage[i * 64 : i * 64 + lengths[i]]
        if kind == "truncated":
            row = row[: cuts[i]]
        elif kind == "a byte lost":
            row = row[: cuts[i]] + row[cuts[i] + 1 :]
        elif kind == "random bytes":
            row = noise
        elif kind == "behind garbage":
            row = noise + row
        yield row


def judge(outcome: Outcome, found: list[Packet], truth: bytes, before: bytes) -> None:
    """Counts what the parser made of a stream, as the bus would take it."""
    outcome.streams += 1
    if not found:
        return
    packet = found[0]
    if packet == Packet(truth[2], truth[4], truth[5:-1]):
        outcome.intact += 1
        return
    outcome.passed += 1
    if packet.servo_id != truth[2]:
        outcome.stranger += 1
        return
    reading = decode_block(packet.payload)
    if reading == decode_block(truth[5:-1]) and packet.code == truth[4]:
        outcome.same += 1
    elif objections(reading, decode_block(before[5:-1]), CYCLE):
        outcome.doubted += 1


def parse_streams(count: int, seed: int = 0) -> dict[str, Outcome]:
    """Gives so many damaged streams to the parser, each in two pieces."""
    rng = np.random.default_rng(seed)
    outcomes = {kind: Outcome() for kind in SHARES}
    for kind, share in SHARES.items():
        left = round(count * share)
        while left:
            size = min(left, BATCH)
            left -= size
            now, before = true_answers(rng, size)
            whole, past = now.tobytes(), before.tobytes()
            pieces = rng.integers(0, SIZE, size)
            for i, stream in enumerate(damaged(rng, kind, now)):
                parser = PacketParser(TELEMETRY_LENGTH)
                found = parser.feed(stream[: pieces[i]]) + parser.feed(stream[pieces[i] :])
                place = slice(i * SIZE, (i + 1) * SIZE)
                judge(outcomes[kind], found, whole[place], past[place])
    return outcomes


def transactions_per_second(baudrate: int | None, seconds: float) -> dict[str, float]:
    """Talks to six virtual servos for so long in each way; at a baudrate, or as fast as it goes."""
    chain = VirtualChain(IDS, KinematicPlant([0.0] * len(IDS)))
    goals = dict.fromkeys(IDS, 2047)
    with VirtualPort(chain, baudrate) as port, FeetechBus(port.path) as bus:

        def cycle() -> None:
            bus.sync_write("Goal_Position", goals)
            bus.read_telemetry(IDS)

        ways: dict[str, Callable[[], object]] = {
            "read of one position": lambda: bus.read(1, "Present_Position"),
            "sync read of six positions": lambda: bus.sync_read("Present_Position", IDS),
            "telemetry of six motors": lambda: bus.read_telemetry(IDS),
            "goals and telemetry of six": cycle,
        }
        rates = {}
        for name, way in ways.items():
            way()
            done = 0
            start = time.perf_counter()
            while time.perf_counter() - start < seconds:
                way()
                done += 1
            rates[name] = done / (time.perf_counter() - start)
        if bus.counters.retries:
            print(f"{bus.counters.retries} retries: the machine was too busy for these figures")
    return rates


def main(streams: int = 1_000_000, seconds: float = 2.0) -> dict[str, float]:
    """Prints all figures and returns the transactions per second."""
    start = time.perf_counter()
    outcomes = parse_streams(streams)
    spent = time.perf_counter() - start
    total = sum(outcome.streams for outcome in outcomes.values())
    print(f"{total} streams in {spent:.0f} s")
    print(f"{'kind':22s} {'streams':>8s} {'intact':>8s} {'wrong, sum right':>17s} {'of them':>8s}")
    for kind, outcome in outcomes.items():
        share = f"1 in {outcome.streams / outcome.passed:.0f}" if outcome.passed else "none"
        print(
            f"{kind:22s} {outcome.streams:8d} {outcome.intact:8d} {outcome.passed:8d} {share:>8s}  "
            f"stranger's id {outcome.stranger}, same values {outcome.same}, "
            f"implausible {outcome.doubted}, believed {outcome.believed}"
        )
    rates = {}
    for label, baudrate in (("at once", None), ("1 Mbaud", 1_000_000)):
        for name, rate in transactions_per_second(baudrate, seconds).items():
            rates[f"{name}, {label}"] = rate
            print(f"{name:28s} {label:8s} {rate:7.0f} /s", flush=True)
    return rates


if __name__ == "__main__":
    main()
