"""A pool of workers that serve one task after another: who gets which, and what becomes of those that are lost."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Generator, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from ...costmodels.errors import DsegymError
from . import Outcome, Task

__all__ = ["Pool", "Waiting", "Worker", "outcomes"]

RETRIES = 2  # of a trial whose process somebody killed, as a system does that is out of memory


class Worker(Protocol):
    """One that runs tasks, as the pool sees it."""

    task: Task | None  # that it runs
    instance: Hashable  # of the last task that it was given

    @property
    def is_awaited(self) -> bool:
        """Whether it has something to say in a while: it runs a task, or starts."""
        ...

    def give(self, task: Task) -> None:
        """Lets it run a task; where it is gone, the next `take` says so."""
        ...

    def take(self) -> Outcome | None:
        """What became of its task, or of itself where it was lost as it started; None while there is nothing to say.

        Raises:
            DsegymError, OSError: the worker cannot work at all.
        """
        ...

    def end(self) -> None:
        """Ends it by force, with all that it has started."""
        ...


W = TypeVar("W", bound=Worker)


@dataclass(frozen=True)
class Pool(Generic[W]):
    """What workers there may be."""

    most: int  # of them at a time
    start: Callable[[], W]
    wait: Callable[[Sequence[W]], None]  # until one of these, all awaited, has something to say, or for some seconds


class Waiting:
    """Tasks that wait to be run, those of an instance together."""

    def __init__(self, tasks: Iterable[Task]):
        self._tasks: dict[Hashable, deque[Task]] = {}
        for task in tasks:
            self._tasks.setdefault(task.instance, deque()).append(task)

    def __len__(self) -> int:
        return sum(map(len, self._tasks.values()))

    def put_back(self, task: Task) -> None:
        """It is the next of its instance."""
        self._tasks.setdefault(task.instance, deque()).appendleft(task)

    def take(self, instance: Hashable, others: Iterable[Hashable]) -> Task:
        """The next task for a worker that has compiled this instance, while other workers are at those.

        A worker stays with its instance, then turns to the first that nobody is at, and then helps where most is left.
        """
        busy = Counter(others)
        if instance not in self._tasks:
            alone = (each for each in self._tasks if not busy[each])
            instance = next(alone, None) or max(self._tasks, key=lambda each: len(self._tasks[each]) / busy[each])
        tasks = self._tasks[instance]
        task = tasks.popleft()
        if not tasks:
            del self._tasks[instance]
        return task


def outcomes(tasks: Iterable[Task], pool: Pool[W]) -> Generator[tuple[Task, Outcome] | None]:
    """Runs tasks in a pool; as the iteration ends, however it does, its workers end too.

    None comes whenever a wait has brought nothing, so that who stores outcomes can do so in time.
    """
    waiting = Waiting(tasks)
    workers: list[W] = []
    done: list[tuple[Task, Outcome]] = []
    try:
        while True:
            while waiting and (idle := _idle(workers, pool, len(waiting))):
                others = [worker.instance for worker in workers if worker.task]
                idle.give(waiting.take(idle.instance, others))
            yield from done  # which are stored while the workers go on
            done.clear()
            if not waiting and not any(worker.task for worker in workers):
                return  # and those that start are not waited for
            awaited = [worker for worker in workers if worker.is_awaited]
            pool.wait(awaited)
            refused: Exception | None = None
            for worker in awaited:
                task = worker.task
                try:
                    outcome = worker.take()
                except (DsegymError, OSError) as error:
                    refused = error
                    continue
                if outcome is None:
                    continue
                worker.task = None
                if outcome.retires:
                    workers.remove(worker)
                    worker.end()
                if task is None:
                    continue
                if outcome.was_killed and task.attempt <= RETRIES:
                    waiting.put_back(task._replace(attempt=task.attempt + 1))
                else:
                    done.append((task, outcome))
            if not done and refused is None:
                yield None
            if refused is not None:
                yield from done  # what other workers have brought is stored
                raise refused
    finally:
        for worker in workers:
            worker.end()


def _idle(workers: list[W], pool: Pool[W], waiting: int) -> W | None:
    """A worker that can take a task, a new one if need be; None where all are busy, or start."""
    for worker in workers:
        if not worker.is_awaited:
            return worker
    starting = sum(not worker.task for worker in workers)
    while len(workers) < pool.most and starting < waiting:
        workers.append(pool.start())
        if not workers[-1].is_awaited:
            return workers[-1]
        starting += 1
    return None
