"""How silence is counted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridge.source.silence import Silence


def test_silence_begins_and_ends_once() -> None:
    """Told when it changes, with how long nothing had come."""
    silence = Silence(10, now=100)
    told = [
        silence.look(read=int(now >= 115), works=True, now=now) for now in (105, 109, 110, 114, 115)
    ]
    assert told == [None, None, 10, None, 15]
    assert (silence.silent, silence.since) == (False, 115)


def test_what_cannot_be_read_is_not_silent() -> None:
    """The count rests meanwhile, and goes on after that."""
    silence = Silence(10, now=0)
    assert silence.look(read=0, works=True, now=9) is None
    assert silence.look(read=0, works=False, now=1_000) is None
    assert silence.look(read=0, works=True, now=1_001) == 1_001


def test_trouble_does_not_end_a_silence() -> None:
    """Only an entry does, and one that is read in trouble too."""
    silence = Silence(10, now=0)
    assert silence.look(read=3, works=True, now=1) is None
    assert silence.look(read=3, works=True, now=11) == 10
    assert silence.look(read=3, works=False, now=12) is None
    assert silence.silent
    assert silence.look(read=4, works=False, now=20) == 19
    assert not silence.silent


@given(
    st.lists(
        st.tuples(st.integers(1, 5), st.booleans(), st.booleans()),
        max_size=60,
    ),
    st.integers(1, 20),
)
def test_silent_is_as_defined(steps: list[tuple[int, bool, bool]], expect_every: int) -> None:
    """Just when the time that could be read since the last entry reaches what is expected."""
    silence, now, read, counted, before = Silence(expect_every, now=0), 0, 0, 0, False
    for passed, comes, works in steps:
        now += passed
        read += comes
        counted = 0 if comes else counted + passed * works
        changed = silence.look(read=read, works=works, now=now) is not None
        assert silence.silent == (counted >= expect_every)
        assert changed == (silence.silent != before)
        before = silence.silent
