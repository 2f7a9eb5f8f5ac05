"""Keys in a terminal, and lines without one."""

import io
import logging
import os
import pty
import select
import signal
import sys
import termios
import threading
import time
from pathlib import Path

import pytest

from envs.operators import keys as keys_module
from envs.operators.keys import KEYS, KeyEvent, Keys, help_line
from tests.patience import stretched

pytestmark = pytest.mark.realtime

SOURCE = Path(keys_module.__file__)


@pytest.fixture
def terminal():
    """Terminal: the person's end and the program's end."""
    master, slave = os.openpty()
    with os.fdopen(slave, "r") as stream:
        yield master, stream
    os.close(master)


def press(master, text):
    os.write(master, text.encode())
    time.sleep(0.01)


def test_every_event_has_a_key_and_the_help_names_them_all():
    assert set(KEYS.values()) == set(KeyEvent)
    assert all(f"[{key}] {event}" in help_line() for key, event in KEYS.items() if key != " ")
    assert "[space] take over" in help_line()


def test_keys_are_read_at_once_without_enter_and_without_waiting(terminal):
    master, stream = terminal
    with Keys(stream) as keys:
        assert keys.source == "terminal"
        started = time.monotonic()
        assert keys.poll() == []
        assert time.monotonic() - started < stretched(0.2)
        for key, event in KEYS.items():
            press(master, key)
            assert keys.poll() == [event]
        press(master, "xS\nF7")
        assert keys.poll() == [KeyEvent.SUCCESS, KeyEvent.FAILURE]
        assert keys.poll() == []


def test_pressed_keys_are_not_echoed(terminal):
    master, stream = terminal
    with Keys(stream) as keys:
        press(master, "s")
        keys.poll()
        assert not select.select([master], [], [], 0.1)[0]


@pytest.mark.parametrize(
    "sequence", ["\x1b[A", "\x1bOQ", "\x1b[1;5B", "\x1b[15~", "\x1bOS", "\x1b[1;2S"]
)
def test_arrow_and_function_keys_are_ignored_even_in_two_parts(terminal, sequence):
    master, stream = terminal
    with Keys(stream) as keys:
        for cut in range(1, len(sequence)):
            press(master, "f" + sequence[:cut])
            events = keys.poll()
            press(master, sequence[cut:] + "b")
            assert events + keys.poll() == [KeyEvent.FAILURE, KeyEvent.GIVE_BACK]


def test_the_escape_key_does_not_swallow_other_keys(terminal):
    master, stream = terminal
    with Keys(stream) as keys:
        press(master, "\x1b")
        assert keys.poll() == []
        press(master, "s")
        assert keys.poll() == [KeyEvent.SUCCESS]


def test_close_restores_the_terminal(terminal):
    _, stream = terminal
    before = termios.tcgetattr(stream)
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    with pytest.raises(RuntimeError, match="oops"), Keys(stream):
        assert not termios.tcgetattr(stream)[3] & (termios.ECHO | termios.ICANON)
        raise RuntimeError("oops")
    assert termios.tcgetattr(stream) == before
    assert handlers == [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]


def test_keys_work_after_a_shell_reset_the_terminal(terminal):
    master, stream = terminal
    before = termios.tcgetattr(stream)
    with Keys(stream) as keys:
        termios.tcsetattr(stream, termios.TCSANOW, before)
        keys.poll()
        press(master, "s")
        assert keys.poll() == [KeyEvent.SUCCESS]
    assert termios.tcgetattr(stream) == before


def test_a_lost_terminal_ends_the_keys_with_a_warning(terminal, caplog):
    master, stream = terminal
    keys = Keys(stream)
    other = os.open("/dev/null", os.O_RDONLY)
    os.dup2(other, master)  # hangs up
    os.close(other)
    assert keys.poll() == []
    assert keys.source == "none"
    assert "terminal that keys were read from ended" in caplog.text
    keys.close()


def test_lines_are_read_where_there_is_no_terminal(caplog):
    read, write = os.pipe()
    with os.fdopen(read) as stream, Keys(stream) as keys:
        assert keys.source == "lines"
        assert "no terminal" in caplog.text
        assert keys.poll() == []
        os.write(write, b"Take Over\nb\n \n\nsucc")
        assert keys.poll() == [KeyEvent.TAKE_OVER, KeyEvent.GIVE_BACK, KeyEvent.TAKE_OVER]
        os.write(write, b"ess\nre-record\njump\n")
        assert keys.poll() == [KeyEvent.SUCCESS, KeyEvent.RERECORD]
        assert "'jump' is neither a key nor an event" in caplog.text
        os.close(write)
        assert keys.poll() == []
        assert keys.source == "none"


def test_a_line_without_an_end_takes_bounded_memory():
    read, write = os.pipe()
    with os.fdopen(read) as stream, Keys(stream) as keys:
        for _ in range(8):
            os.write(write, b"x" * 4000)
            keys.poll()
        assert len(keys._rest) <= 256
    os.close(write)


def test_without_input_there_is_a_warning(caplog, monkeypatch):
    for stream in (io.StringIO(), None):
        monkeypatch.setattr(sys, "stdin", stream)
        caplog.clear()
        with Keys() as keys:
            assert keys.source == "none"
            assert keys.poll() == []
        assert "there is no standard input" in caplog.text


def in_terminal(body):
    """Run a program in a terminal of its own.

    It is given the module as ``m``; it prints "ready" when it may be interrupted.

    Returns:
        Its process id and the terminal.
    """
    program = (
        "import os, runpy, signal, sys, time\n"
        "sys.modules['keys'] = m = type(sys)('keys')\n"
        f"m.__dict__.update(runpy.run_path({str(SOURCE)!r}))\n" + body
    )
    pid, master = pty.fork()
    if pid == 0:
        # As a shell starts it, whatever this process ignores.
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        os.execv(sys.executable, [sys.executable, "-c", program])
    return pid, master


def finish(pid, master, sends=None):
    """Wait until "ready", send a signal, and return the exit status and the output."""
    printed, deadline = "", time.monotonic() + stretched(20)
    while time.monotonic() < deadline:
        if select.select([master], [], [], 0.1)[0]:
            try:
                printed += os.read(master, 1000).decode()
            except OSError:
                break
            if sends and "ready" in printed:
                os.kill(pid, sends)
                sends = None
        elif os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            break
    else:
        os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), printed


OPEN = "keys = m.Keys()\nprint('ready', flush=True)\n"
# Often and short: a signal just before a sleep is seen after it.
WAIT = OPEN + "for _ in range(2000): time.sleep(0.01)\n"


@pytest.mark.parametrize(
    ("body", "sends", "status"),
    [
        (OPEN, None, 0),
        (OPEN + "sys.exit(3)\n", None, 3),
        (OPEN + "raise ValueError\n", None, 1),
        (WAIT, signal.SIGINT, -signal.SIGINT),
        (WAIT, signal.SIGTERM, -signal.SIGTERM),
        (WAIT, signal.SIGHUP, -signal.SIGHUP),
        ("signal.signal(signal.SIGINT, signal.SIG_DFL)\n" + WAIT, signal.SIGINT, -signal.SIGINT),
        ("signal.signal(15, lambda *_: sys.exit(7))\n" + WAIT, signal.SIGTERM, 7),
    ],
    ids=["end", "exit", "exception", "interrupt", "terminate", "hang up", "kill -2", "own handler"],
)
def test_the_terminal_is_restored_on_every_way_out(body, sends, status):
    # A second process keeps the terminal's settings alive while the first one ends.
    body = "import subprocess\nsubprocess.Popen(['sleep', '3'])\n" + body
    pid, master = in_terminal(body)
    before = termios.tcgetattr(master)
    assert before[3] & termios.ICANON
    exited, printed = finish(pid, master, sends)
    assert "ready" in printed
    assert exited == status
    assert termios.tcgetattr(master) == before
    os.close(master)


def test_the_terminal_passes_single_keys_while_the_program_runs():
    pid, master = in_terminal(OPEN + "while True:\n for e in keys.poll(): print(e); sys.exit(0)\n")
    printed = ""
    while "ready\r\n" not in printed:
        printed += os.read(master, 100).decode()
    assert not termios.tcgetattr(master)[3] & termios.ICANON
    os.write(master, b" ")
    assert finish(pid, master) == (0, "take over\r\n")
    os.close(master)


def test_in_the_background_no_keys_are_read_and_the_program_continues():
    background = (
        "child = os.fork()\n"
        "if child == 0:\n"
        " os.setpgid(0, 0)\n"
        " keys = m.Keys()\n"
        " for _ in range(20): keys.poll(); time.sleep(0.01)\n"
        " keys.close(); os._exit(5)\n"
        "_, status = os.waitpid(child, os.WUNTRACED)\n"
        "print('stopped' if os.WIFSTOPPED(status) else os.waitstatus_to_exitcode(status))\n"
    )
    pid, master = in_terminal(background)
    os.write(master, b"sss\n")
    _, printed = finish(pid, master)
    assert printed.split()[-1] == "5"
    os.close(master)


def test_in_another_thread_keys_work_without_signal_handlers(terminal, caplog):
    master, stream = terminal
    events = []

    def read():
        with Keys(stream) as keys:
            press(master, "q")
            events.extend(keys.poll())

    thread = threading.Thread(target=read)
    with caplog.at_level(logging.ERROR):
        thread.start()
        thread.join()
    assert events == [KeyEvent.STOP]
