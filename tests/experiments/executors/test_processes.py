"""A worker process as the one who starts it sees it: what it says, and when."""

import time
from types import SimpleNamespace

import pytest

from dsegym.costmodels.errors import DsegymError
from dsegym.experiments.executors import Outcome
from dsegym.experiments.executors.processes import WorkerProcess


class Pipe:
    """One end of a pipe, which holds what is given at the looks at which it is given."""

    def __init__(self, looks):
        self._looks = list(looks)  # None: nothing there; an error: it is broken; else what is there

    def poll(self):
        if self._looks and self._looks[0] is None:
            self._looks.pop(0)
            return False
        return bool(self._looks)

    def recv(self):
        found = self._looks.pop(0)
        if isinstance(found, EOFError):
            raise found
        return found


class Process:
    def __init__(self, alive, exitcode=None):
        self.alive, self.exitcode, self.joined_s = alive, exitcode, []

    def join(self, timeout):
        self.joined_s.append(timeout)

    def is_alive(self):
        return self.alive


@pytest.fixture
def worker():
    """Makes a worker of a pipe and a process, without starting one."""

    def make(looks, process):
        made = object.__new__(WorkerProcess)
        made.pipe, made.process = Pipe(looks), process
        made.task, made.refused, made._pipe_is_broken = SimpleNamespace(trial=None), None, False
        made.deadline_s = time.monotonic() + 1000
        return made

    return make


DONE = Outcome({"status": "finished"}, None)


def test_an_answer_between_two_looks_is_not_waited_for(worker):
    process = Process(alive=True)
    found = worker([None, DONE], process)
    assert found.take() is None
    assert process.joined_s == [0.0]
    assert found.take() is DONE


def test_the_last_that_a_worker_says_before_it_ends_counts(worker):
    assert worker([None, DONE], Process(alive=False, exitcode=0)).take() is DONE


def test_a_worker_whose_pipe_is_broken_is_waited_for_and_told_of_by_its_exit_code(worker):
    process = Process(alive=False, exitcode=-9)
    outcome = worker([EOFError()], process).take()
    assert outcome.was_killed
    assert outcome.retires
    assert outcome.message == "the worker process died (exit code -9); its samples are lost."
    assert process.joined_s[0] > 0


def test_a_worker_that_cannot_work_says_so_each_time_that_it_is_asked(worker):
    found = worker([DsegymError("no such instance")], Process(alive=True))
    for _ in range(2):
        with pytest.raises(DsegymError, match="no such instance"):
            found.take()


def test_a_worker_that_goes_on_for_too_long_has_timed_out(worker):
    found = worker([None], Process(alive=True))
    found.task = SimpleNamespace(trial=SimpleNamespace(time_limit_s=1.0))
    found.deadline_s = time.monotonic() - 1
    assert found.take().status == "timed_out"
