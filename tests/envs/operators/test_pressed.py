"""Pressed keys, shared by several readers."""

from hypothesis import given
from hypothesis import strategies as st

from envs.operators.keys import KeyEvent
from envs.operators.pressed import Pressed


class Feed:
    """Source of keys that a test presses."""

    def __init__(self, *events, source="terminal"):
        self.source = source
        self.waiting = list(events)
        self.closed = False

    def press(self, *events):
        self.waiting.extend(events)

    def poll(self):
        pressed, self.waiting = self.waiting, []
        return pressed

    def close(self):
        self.closed = True


LEADS = (KeyEvent.TAKE_OVER, KeyEvent.GIVE_BACK)
JUDGES = (KeyEvent.SUCCESS, KeyEvent.FAILURE, KeyEvent.RERECORD)
READERS = (LEADS, JUDGES, (KeyEvent.STOP,))


def test_each_reader_takes_only_its_own_presses_the_oldest_first():
    pressed = Pressed(
        Feed(
            KeyEvent.SUCCESS,
            KeyEvent.TAKE_OVER,
            KeyEvent.FAILURE,
            KeyEvent.GIVE_BACK,
            KeyEvent.TAKE_OVER,
        )
    )
    assert [pressed.take(*LEADS) for _ in range(4)] == [
        KeyEvent.TAKE_OVER,
        KeyEvent.GIVE_BACK,
        KeyEvent.TAKE_OVER,
        None,
    ]
    assert [pressed.take(*JUDGES) for _ in range(3)] == [KeyEvent.SUCCESS, KeyEvent.FAILURE, None]


@given(
    st.lists(
        st.one_of(
            st.lists(st.sampled_from(KeyEvent), min_size=1, max_size=4), st.sampled_from(READERS)
        ),
        max_size=20,
    )
)
def test_no_press_is_lost_or_read_twice(happenings):
    """Presses (lists) and readers (tuples) in any order."""
    feed = Feed()
    pressed = Pressed(feed)
    told = {reader: [] for reader in READERS}
    for each in happenings:
        if isinstance(each, list):
            feed.press(*each)
        else:
            told[each].append(pressed.take(*each))
    for reader in READERS:
        while (event := pressed.take(*reader)) is not None:
            told[reader].append(event)
        presses = [event for each in happenings if isinstance(each, list) for event in each]
        assert [event for event in told[reader] if event] == [
            event for event in presses if event in reader
        ]


def test_forget_drops_presses_read_before_or_not():
    feed = Feed(KeyEvent.SUCCESS, KeyEvent.STOP, KeyEvent.TAKE_OVER, KeyEvent.SUCCESS)
    pressed = Pressed(feed)
    assert pressed.take(KeyEvent.RERECORD) is None
    feed.press(KeyEvent.FAILURE, KeyEvent.TAKE_OVER)
    pressed.forget(KeyEvent.SUCCESS, KeyEvent.FAILURE)
    assert pressed.take(*JUDGES) is None
    assert pressed.take(KeyEvent.STOP) is KeyEvent.STOP
    assert [pressed.take(*LEADS) for _ in range(3)] == [KeyEvent.TAKE_OVER] * 2 + [None]
    feed.press(KeyEvent.SUCCESS)
    assert pressed.take(*JUDGES) is KeyEvent.SUCCESS, "what comes later counts"


def test_unwanted_keys_take_bounded_memory_and_hide_no_other():
    feed = Feed(*[KeyEvent.SUCCESS] * 5000)
    pressed = Pressed(feed)
    assert pressed.take(KeyEvent.STOP) is None
    feed.press(KeyEvent.STOP)
    assert pressed.take(KeyEvent.STOP) is KeyEvent.STOP
    assert len(pressed._waiting) <= 100


def test_any_source_tells_whether_keys_can_come():
    feed = Feed(source="lines")
    pressed = Pressed(feed)
    assert pressed.any_source
    feed.source = "none"  # the terminal went away
    assert not pressed.any_source


def test_close_closes_the_source():
    feed = Feed()
    Pressed(feed).close()
    assert feed.closed
