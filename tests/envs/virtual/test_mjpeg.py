"""Server of MJPEG streams, with faults."""

import io
import itertools
import logging
import socket
import threading
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
from PIL import Image

from envs.virtual.mjpeg import Fault, MjpegServer
from tests.patience import stretched, wait_until

pytestmark = pytest.mark.realtime

SIZE = (48, 64, 3)


def counting():
    """Source whose n-th frame is a grey of 4 n."""
    numbers = itertools.count(1)
    return lambda: np.full(SIZE, next(numbers) * 4 % 256, np.uint8)


def still():
    return np.full(SIZE, [200, 100, 50], np.uint8)


class Watcher:
    """Reader of a stream, as any client of MJPEG."""

    def __init__(self, url):
        self._answer = urllib.request.urlopen(url, timeout=stretched(3))
        self.content_type = self._answer.headers["Content-Type"]

    def frame(self):
        """Return the next frame, None at the end of the stream."""
        length = 0
        while line := self._answer.readline():
            if line.startswith(b"Content-Length: "):
                length = int(line.split()[1])
            if line == b"\r\n" and length:
                return np.asarray(Image.open(io.BytesIO(self._answer.read(length))))
        return None

    def grey(self):
        return round(self.frame().mean() / 4)

    def close(self):
        self._answer.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def test_frames_come_in_order_and_in_their_colours():
    with MjpegServer({"front": counting(), "wrist": still}, fps=50) as server:
        with Watcher(server.url("front")) as watcher:
            assert watcher.content_type.startswith("multipart/x-mixed-replace")
            greys = [watcher.grey() for _ in range(8)]
        assert (np.diff(greys) >= 1).all()
        with Watcher(server.url("wrist")) as watcher:
            frame = watcher.frame()
    assert frame.shape == SIZE
    np.testing.assert_allclose(frame[20, 20], [200, 100, 50], atol=4)


def test_the_rate_is_kept():
    with (
        MjpegServer({"front": counting()}, fps=20) as server,
        Watcher(server.url("front")) as watcher,
    ):
        watcher.frame()
        started = time.monotonic()
        for _ in range(20):
            watcher.frame()
        assert 0.9 < time.monotonic() - started < stretched(4.0)  # one second on an idle machine


def test_a_slow_source_does_not_catch_up():
    calls = []

    def slow_at_first():
        calls.append(time.monotonic())
        if len(calls) == 1:
            time.sleep(1.0)
        return still()

    with (
        MjpegServer({"front": slow_at_first}, fps=20) as server,
        Watcher(server.url("front")) as watcher,
    ):
        for _ in range(6):
            watcher.frame()
    assert calls[5] - calls[1] > 0.15


def test_the_source_rests_without_watchers_and_a_new_watcher_gets_a_new_frame():
    calls = []

    def source():
        calls.append(0)
        return np.full(SIZE, len(calls) * 4 % 256, np.uint8)

    with MjpegServer({"front": source}, fps=20) as server:
        time.sleep(0.1)
        assert calls == []
        with Watcher(server.url("front")) as watcher:
            watcher.frame()
        seen = 0

        def idle():
            nonlocal seen
            before, seen = seen, len(calls)
            time.sleep(0.15)
            return before == seen

        wait_until(idle)
        server.inject("front", Fault.STALL)
        with Watcher(server.url("front")) as watcher:
            threading.Timer(0.2, server.inject, ("front", None)).start()
            assert watcher.grey() > seen


def test_a_frozen_camera_repeats_the_same_picture():
    with (
        MjpegServer({"front": counting()}, fps=50) as server,
        Watcher(server.url("front")) as watcher,
    ):
        watcher.frame()
        server.inject("front", Fault.FREEZE)
        for _ in range(4):
            last = watcher.grey()
        assert [watcher.grey() for _ in range(5)] == [last] * 5
        server.inject("front", None)
        wait_until(lambda: watcher.grey() > last)


def test_a_camera_that_is_frozen_from_the_start_has_a_picture_too():
    with MjpegServer({"front": counting()}, fps=50) as server:
        server.inject("front", Fault.FREEZE)
        with Watcher(server.url("front")) as watcher:
            assert [watcher.grey() for _ in range(3)] == [1] * 3


def test_a_black_camera_is_black_from_the_first_frame():
    with MjpegServer({"front": still}, fps=50) as server:
        server.inject("front", Fault.BLACK)
        with Watcher(server.url("front")) as watcher:
            for _ in range(3):
                frame = watcher.frame()
                assert frame.shape == SIZE
                assert not frame.any()
            server.inject("front", None)
            wait_until(lambda: watcher.frame().any())
            server.inject("front", Fault.BLACK)
            wait_until(lambda: not watcher.frame().any())


def test_a_stalled_camera_keeps_the_connection_and_sends_nothing():
    with (
        MjpegServer({"front": counting()}, fps=50) as server,
        Watcher(server.url("front")) as watcher,
    ):
        watcher.frame()
        server.inject("front", Fault.STALL)
        threading.Timer(0.5, server.inject, ("front", None)).start()
        gaps = []
        for _ in range(30):
            started = time.monotonic()
            assert watcher.frame() is not None
            gaps.append(time.monotonic() - started)
        assert max(gaps) > 0.3


def test_a_disconnected_camera_ends_its_streams_and_refuses_new_ones_until_it_returns():
    with MjpegServer({"front": counting(), "wrist": still}, fps=50) as server:
        with Watcher(server.url("front")) as watcher, Watcher(server.url("wrist")) as other:
            watcher.frame()
            server.inject("front", Fault.DISCONNECT)
            wait_until(lambda: watcher.frame() is None)
            assert other.frame() is not None
        with pytest.raises(urllib.error.HTTPError) as refused:
            Watcher(server.url("front"))
        assert refused.value.code == 503
        server.inject("front", None)
        with Watcher(server.url("front")) as watcher:
            assert watcher.frame() is not None


@pytest.mark.parametrize("wrong", ["error", "float", "grey"])
def test_a_failing_source_disconnects_its_camera_and_logs_why(wrong, caplog):
    def source():
        if wrong == "error":
            raise OSError("no more pictures")
        return np.zeros(SIZE) if wrong == "float" else np.zeros(SIZE[:2], np.uint8)

    with MjpegServer({"front": source}) as server:
        with Watcher(server.url("front")) as watcher:
            assert watcher.frame() is None
        with pytest.raises(urllib.error.HTTPError):
            Watcher(server.url("front"))
    assert "the source of camera 'front' failed" in caplog.text
    assert ("no more pictures" if wrong == "error" else "expected uint8 of shape") in caplog.text


def test_watchers_are_bounded_and_leaving_during_a_stall_frees_a_place():
    with MjpegServer({"front": still}, fps=50, max_watchers=2) as server:
        with Watcher(server.url("front")), Watcher(server.url("front")):
            with pytest.raises(urllib.error.HTTPError) as refused:
                Watcher(server.url("front"))
            assert refused.value.code == 503
            server.inject("front", Fault.STALL)
        answers = []

        def served():
            try:
                answers.append(Watcher(server.url("front")))
            except urllib.error.HTTPError:
                return False
            return True

        wait_until(served)
        answers[0].close()


def test_a_watcher_that_reads_nothing_is_dropped():
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    with MjpegServer({"front": lambda: noise}, fps=50, max_watchers=1) as server:
        port = int(server.url("front").split(":")[2].split("/")[0])
        with socket.create_connection(("127.0.0.1", port)) as idle:
            idle.sendall(b"GET /front.mjpg HTTP/1.0\r\n\r\n")

            def served():
                try:
                    Watcher(server.url("front")).close()
                except urllib.error.HTTPError:
                    return False
                return True

            idle.recv(10)
            wait_until(served, 15.0)


@pytest.mark.parametrize("path", ["/", "/back.mjpg", "/front", "/front.mjpg/x", "/../etc/passwd"])
def test_other_paths_are_not_found(path):
    with MjpegServer({"front": still}) as server:
        base = server.url("front").removesuffix("/front.mjpg")
        with pytest.raises(urllib.error.HTTPError) as missing:
            urllib.request.urlopen(base + path, timeout=stretched(3))
        assert missing.value.code == 404
        with pytest.raises(KeyError, match=r"no camera 'back', only \['front'\]"):
            server.url("back")
        with pytest.raises(KeyError, match=r"no camera 'back'"):
            server.inject("back", Fault.BLACK)


def test_the_server_listens_on_loopback_only_and_close_ends_everything(caplog):
    before = threading.active_count()
    with caplog.at_level(logging.ERROR):
        server = MjpegServer({"front": still}, fps=50)
        url = server.url("front")
        assert server._server.server_address[0] == "127.0.0.1"
        with Watcher(url) as watcher:
            watcher.frame()
            server.close()
            wait_until(lambda: watcher.frame() is None)
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=stretched(3))
    wait_until(lambda: threading.active_count() <= before)
    assert caplog.text == ""


def test_options_out_of_range_are_refused():
    for options in ({"fps": 0}, {"port": -1}, {"max_watchers": 0}, {"quality": 100}):
        with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
            MjpegServer({"front": still}, **options)
