"""Virtual cameras: a server of MJPEG streams on this machine, with faults on demand."""

import select
import socket
import threading
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from envs.closing import Closing
from envs.options import integer, number
from envs.virtual.mjpeg_feed import Fault, Feed, Source

__all__ = ["Fault", "MjpegServer", "Source"]

_HOST = "127.0.0.1"  # never beyond this machine
_BOUNDARY = "frame"
_PATIENCE = 0.25  # [s] between two checks whether a watcher has left
_WRITE_TIMEOUT = 2.0  # [s]: a watcher that takes nothing for so long is dropped


class MjpegServer(Closing):
    """Server of frames as ``http://127.0.0.1:PORT/<camera>.mjpg``, for OpenCV and browsers.

    Any source will do: a rendered camera, a recording, a test picture. It is called from a thread
    of its own, at a steady rate, and only while somebody watches.

    Args:
        sources: Function that makes the frames of each camera, by its name.
        fps: Frame rate [Hz].
        port: Port to listen on; 0 chooses a free one.
        max_watchers: Largest number of connections at a time; others are refused.
        quality: Quality of the JPEG, 1 to 95.

    Raises:
        ValueError: If an option is out of its range.
        OSError: If the port is in use.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        *,
        fps: float = 30.0,
        port: int = 0,
        max_watchers: int = 8,
        quality: int = 90,
    ) -> None:
        fps, quality = number("fps", fps, 0.5, 240.0), integer("quality", quality, 1, 95)
        watchers = integer("max_watchers", max_watchers, 1, 64)
        self._server = _Server((_HOST, integer("port", port, 0, 65535)), watchers)
        self._server.feeds = {
            name: Feed(name, source, fps, quality) for name, source in sources.items()
        }
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="mjpeg", daemon=True
        )
        self._thread.start()

    def url(self, camera: str) -> str:
        """Return the URL of a camera.

        Raises:
            KeyError: If there is no such camera.
        """
        self._feed(camera)
        return f"http://{_HOST}:{self._server.server_port}/{camera}.mjpg"

    def inject(self, camera: str, fault: Fault | None) -> None:
        """Give a camera a fault from now on; None ends it.

        Raises:
            KeyError: If there is no such camera.
        """
        self._feed(camera).inject(fault)

    def close(self) -> None:
        """End all streams and free the port."""
        self._server.shutdown()
        self._server.server_close()
        for feed in self._server.feeds.values():
            feed.close()
        self._thread.join(5.0)

    def _feed(self, camera: str) -> Feed:
        if camera not in self._server.feeds:
            raise KeyError(f"there is no camera {camera!r}, only {sorted(self._server.feeds)}")
        return self._server.feeds[camera]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], max_watchers: int) -> None:
        super().__init__(address, _Stream)
        self.feeds: dict[str, Feed] = {}
        self.places = threading.BoundedSemaphore(max_watchers)


class _Stream(BaseHTTPRequestHandler):
    server: _Server
    timeout = _WRITE_TIMEOUT

    def do_GET(self) -> None:
        """Stream the requested camera until one side ends it."""
        feed = self.server.feeds.get(self.path.removeprefix("/").removesuffix(".mjpg"))
        if feed is None or not self.path.endswith(".mjpg"):
            self.send_error(HTTPStatus.NOT_FOUND)
        elif feed.gone:
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, "The camera is gone")
        elif not self.server.places.acquire(blocking=False):
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, "Too many watchers")
        else:
            feed.watch(1)
            try:
                self._stream(feed)
            except OSError:
                pass  # the watcher left, or takes nothing
            finally:
                feed.watch(-1)
                self.server.places.release()

    def _stream(self, feed: Feed) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        seen = feed.number  # the last frame may be hours old
        while not feed.gone:
            following = feed.next(seen, _PATIENCE)
            if following is None:
                if self._left():
                    return
                continue
            jpeg, seen = following
            head = (
                f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            )
            self.wfile.write(head.encode() + jpeg + b"\r\n")

    def _left(self) -> bool:
        """Return whether the watcher has hung up, which a write would not show during a stall."""
        readable = select.select([self.connection], [], [], 0.0)[0]
        return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: one line per connection would drown the program's own."""
