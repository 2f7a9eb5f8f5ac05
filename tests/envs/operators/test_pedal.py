"""Pedal: a second source of keys, which may come and go."""

import logging
import os
import subprocess
import sys
import time
import tty
from collections.abc import Callable
from pathlib import Path

import pytest

from envs.interfaces import HardwareError
from envs.operators.keys import KeyEvent
from envs.operators.pedal import Pedal, PedalError
from envs.virtual.virtual_pedal import VirtualPedal
from tests.patience import stretched

pytestmark = pytest.mark.realtime


@pytest.fixture
def device():
    with VirtualPedal() as device:
        yield device


def wait_until(done: Callable[[], bool], seconds: float = 5.0) -> bool:
    end = time.monotonic() + stretched(seconds)
    while time.monotonic() < end:
        if done():
            return True
        time.sleep(0.01)
    return False


def polled(pedal: Pedal, count: int) -> list[KeyEvent]:
    events: list[KeyEvent] = []

    def came() -> bool:
        events.extend(pedal.poll())
        return len(events) >= count

    assert wait_until(came), events
    return events


def test_keys_arrive_in_order(device: VirtualPedal) -> None:
    pedal = Pedal(device.path)
    assert pedal.source == f"pedal {device.path}" and pedal.poll() == []
    for event in KeyEvent:
        device.press(event)
    assert polled(pedal, len(KeyEvent)) == list(KeyEvent)
    pedal.close()
    pedal.close()
    assert pedal.source == "none" and pedal.poll() == []


def test_keys_pressed_before_it_was_opened_do_not_count(device: VirtualPedal) -> None:
    first = Pedal(device.path)
    device.press(KeyEvent.STOP)
    first.close()
    device.press(KeyEvent.SUCCESS)
    pedal = Pedal(device.path)
    device.press(KeyEvent.GIVE_BACK)
    assert polled(pedal, 1) == [KeyEvent.GIVE_BACK]
    pedal.close()


def test_pressing_without_a_reader_does_not_block(device: VirtualPedal) -> None:
    for _ in range(20_000):
        device.press(KeyEvent.SUCCESS)


def test_a_missing_pedal_is_named(tmp_path: Path) -> None:
    with pytest.raises(PedalError, match=r"pedal .*/none cannot be read .*: plug it in") as error:
        Pedal(str(tmp_path / "none"))
    assert isinstance(error.value, HardwareError)
    (tmp_path / "file").write_text("b")
    with pytest.raises(PedalError, match="is no terminal device"):
        Pedal(str(tmp_path / "file"))
    with pytest.raises(PedalError, match=str(tmp_path)):
        Pedal(str(tmp_path))


def test_a_vanished_pedal_is_logged_once_and_opened_again(tmp_path: Path, caplog) -> None:
    now = [0.0]
    device, link = VirtualPedal(), tmp_path / "pedal"
    link.symlink_to(device.path)
    pedal = Pedal(str(link), clock=lambda: now[0])
    with caplog.at_level(logging.WARNING):
        device.close()
        link.unlink()
        assert wait_until(lambda: pedal.poll() == [] and bool(caplog.records))
        for _ in range(5):
            now[0] += 2.0
            assert pedal.poll() == []
        gone = [each for each in caplog.messages if f"pedal {link} is gone" in each]
        assert len(gone) == 1 and pedal.source != "none"
        with VirtualPedal() as another:
            link.symlink_to(another.path)
            now[0] += 0.1
            assert pedal.poll() == []
            now[0] += 2.0
            assert pedal.poll() == []
            assert f"pedal {link} is back" in caplog.text
            another.press(KeyEvent.SUCCESS)
            assert polled(pedal, 1) == [KeyEvent.SUCCESS]
            pedal.close()


def test_the_pedal_does_not_become_the_controlling_terminal(device: VirtualPedal) -> None:
    """Otherwise the pedal's end would end a session without a terminal."""
    program = (
        "import os, sys\n"
        "from envs.operators.pedal import Pedal\n"
        "pedal = Pedal(sys.argv[1])\n"
        "os.open('/dev/tty', os.O_RDONLY)\n"
    )
    command = [sys.executable, "-c", program, device.path]
    ended = subprocess.run(command, start_new_session=True, capture_output=True, text=True)
    assert "No such device or address: '/dev/tty'" in ended.stderr


def test_a_device_in_line_mode_needs_no_enter() -> None:
    foot, other = os.openpty()
    tty.setcbreak(other)
    tty.tcsetattr(other, tty.TCSANOW, [0, 0, 0, tty.ICANON, 0, 0, tty.tcgetattr(other)[6]])
    pedal = Pedal(os.ttyname(other))
    os.write(foot, b"s")
    assert polled(pedal, 1) == [KeyEvent.SUCCESS]
    pedal.close()
    os.close(foot)
    os.close(other)
