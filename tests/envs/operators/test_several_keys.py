"""Several sources of keys as one, which lasts as long as any of them."""

from envs.operators.keys import KeyEvent
from envs.operators.several_keys import SeveralKeys


class Source:
    def __init__(self, source: str, log: list[str]) -> None:
        self.source, self._log = source, log
        self.events: list[KeyEvent] = []

    def poll(self) -> list[KeyEvent]:
        events, self.events = self.events, []
        return events

    def close(self) -> None:
        self._log.append(self.source)


def test_keys_come_from_all_sources() -> None:
    first, second = Source("terminal", []), Source("pedal", [])
    keys = SeveralKeys((first, second))
    assert keys.poll() == []
    first.events, second.events = [KeyEvent.STOP], [KeyEvent.SUCCESS, KeyEvent.GIVE_BACK]
    assert keys.poll() == [KeyEvent.STOP, KeyEvent.SUCCESS, KeyEvent.GIVE_BACK]
    assert keys.poll() == []


def test_source_names_the_remaining_sources() -> None:
    first, second = Source("terminal", []), Source("pedal", [])
    keys = SeveralKeys((first, second))
    assert keys.source == "terminal, pedal"
    first.source = "none"
    assert keys.source == "pedal"
    second.source = "none"
    assert keys.source == "none"


def test_close_closes_all_last_first_even_if_one_fails() -> None:
    log: list[str] = []

    class Broken(Source):
        def close(self) -> None:
            super().close()
            raise OSError("broken")

    keys = SeveralKeys((Source("terminal", log), Broken("pedal", log)))
    try:
        keys.close()
    except OSError:
        log.append("said")
    assert log == ["pedal", "terminal", "said"]
