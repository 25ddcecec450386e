"""Sightings become windows: which frames are in them, and whose score each sighting takes."""

from __future__ import annotations

from redeepfake_nb.analysis.windows import WindowBuffer


def add(buffer: WindowBuffer[str], track: int, times: str | list[float]) -> list:
    """Add sightings named ``<track>@<time>``; return the windows that became complete."""
    found = []
    for time in times:
        found += buffer.add(track, float(time), f"{track}@{float(time):g}")
    return found


def shown(windows: list) -> list[tuple[str, str, int]]:
    return [(" ".join(w.items), " ".join(w.scored), w.repeated) for w in windows]


def test_windows_lie_end_to_end_and_the_last_reaches_back() -> None:
    buffer: WindowBuffer[str] = WindowBuffer(3)
    complete = add(buffer, 1, [0, 1, 2, 3, 4, 5, 6])
    assert shown(complete) == [("1@0 1@1 1@2",) * 2 + (0,), ("1@3 1@4 1@5",) * 2 + (0,)]
    assert shown(buffer.rest({1: 0}, 1.5)) == [("1@4 1@5 1@6", "1@6", 0)]


def test_tracks_do_not_mix() -> None:
    buffer: WindowBuffer[str] = WindowBuffer(2)
    complete = [
        *buffer.add(1, 0, "a"),
        *buffer.add(2, 0, "x"),
        *buffer.add(1, 1, "b"),
        *buffer.add(2, 1, "y"),
    ]
    assert [w.items for w in complete] == [("a", "b"), ("x", "y")]
    assert buffer.rest({1: 0, 2: 1}, 1.5) == []


def test_last_window_of_a_track_that_ended_does_not_wait_for_the_end() -> None:
    buffer: WindowBuffer[str] = WindowBuffer(2)
    add(buffer, 1, [0, 1, 2])
    assert add(buffer, 2, [4]) == []  # the pause may end
    assert shown(add(buffer, 2, [4.5])) == [("1@1 1@2", "1@2", 0), ("2@4 2@4.5",) * 2 + (0,)]


def test_short_tracks_of_a_person_are_joined_where_they_are_neighbours() -> None:
    """Frames 3 s apart are no tracks; person 0 is missing from the frames at 9 and 12 s."""
    buffer: WindowBuffer[str] = WindowBuffer(3)
    for track, time in enumerate([0, 3, 6, 15, 18]):
        assert add(buffer, track, [time]) == []
    found = shown(buffer.rest(dict.fromkeys(range(5), 0), 2.5 * 3))
    assert found == [("0@0 1@3 2@6",) * 2 + (0,), ("3@15 4@18 4@18", "3@15 4@18", 1)]


def test_long_runs_of_short_tracks() -> None:
    buffer: WindowBuffer[str] = WindowBuffer(2)
    for track in range(5):
        add(buffer, track, [track])
    found = shown(buffer.rest(dict.fromkeys(range(5), 0), 1))
    assert [scored for _, scored, _ in found] == ["0@0 1@1", "2@2 3@3", "4@4"]
    assert found[-1][0] == "3@3 4@4"
