"""Background jobs and their progress."""

from __future__ import annotations

import threading

import pytest

from redeepfake_nb.utils.jobs import Job, JobRunner, LatestRunner, ThrottledProgress, describe_progress


@pytest.mark.parametrize(
    ("done", "total", "seconds", "expected"),
    [
        (5, None, 3.0, "5."),
        (1, 9, 0.0, "1 of 9."),
        (3, 9, 4.0, "3 of 9, about 12 s left."),
        (2, 1001, 1.0, "2 of 1001, about 17 min left."),
        (9, 9, 4.0, "9 of 9."),
    ],
)
def test_progress_in_words(done: int, total: int | None, seconds: float, expected: str) -> None:
    assert describe_progress(done, total, seconds) == expected


def test_units_that_end_together_are_one_beginning() -> None:
    # Eight files of the first batch; four more took a second.
    assert describe_progress(12, 20, 1.0, first=8) == "12 of 20, about 2 s left."
    assert describe_progress(8, 20, 0.0, first=8) == "8 of 20."


def test_progress_is_throttled_and_ends_with_a_discarded_job() -> None:
    counts: list[object] = []
    messages: list[str] = []
    job = Job("here")
    progress = ThrottledProgress(job, "Frame", lambda *call: counts.append(call), messages.append)
    for done in range(1, 1000):
        progress(done, 2000)
    assert counts[0] == (1, 2001)
    assert len(counts) < 20
    assert messages == ["Frame 1 of 2000."]
    job.discarded = True
    late = ThrottledProgress(job, "Frame", lambda *call: counts.append("late"), messages.append)
    late(1, 2)
    assert counts[-1] != "late"


def test_a_job_that_fails_ends_and_is_reported() -> None:
    def finished(job: Job) -> None:
        job.value = "seen"

    runner = JobRunner(finished)
    job = runner.start("here", lambda job: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        runner.result(job)
    assert job.value == "seen"
    assert runner.wait(0)
    assert not runner.cancel()


def test_only_the_latest_job_counts_and_waits_for_the_one_before() -> None:
    seen: list[str] = []
    begun, gone_on = threading.Event(), threading.Event()

    def first(job: Job) -> str:
        begun.set()
        assert gone_on.wait(30)
        return "first"

    runner = LatestRunner(lambda job: seen.append(job.value))
    one = runner.start("here", first)
    assert begun.wait(30)
    two = runner.start("here", lambda job: "second")
    three = runner.start("here", lambda job: "third")
    assert (one.discarded, two.discarded, three.discarded) == (True, True, False)
    assert not runner.wait(0)
    gone_on.set()
    assert runner.wait(30)
    assert seen == ["third"]
    assert three.done.is_set()
    assert not runner.discard()


def test_a_latest_job_that_fails_is_reported() -> None:
    errors: list[BaseException | None] = []
    runner = LatestRunner(lambda job: errors.append(job.error))
    runner.start("here", lambda job: 1 / 0)
    assert runner.wait(30)
    assert [type(error) for error in errors] == [ZeroDivisionError]
