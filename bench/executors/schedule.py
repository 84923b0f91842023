"""Which job may begin next."""

from __future__ import annotations

from collections.abc import Iterable

from spectral_bench.bench.executors.interface import SUCCESSES, Exit, Job
from spectral_bench.common.errors import ConfigError


class Schedule:
    """Jobs that wait, run and end; a job may begin once all jobs that it requires have succeeded.

    Args:
        jobs: in the order of preference.

    Raises:
        ConfigError: two jobs have one name, or jobs require each other in a circle.
    """

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._jobs: dict[str, Job] = {}
        for job in jobs:
            if job.run_id in self._jobs:
                raise ConfigError(f"job {job.run_id}: asked for twice")
            self._jobs[job.run_id] = job
        self._waiting = list(self._jobs)
        self._deferred: list[str] = []
        self.exits: dict[str, Exit] = {}
        if circle := self._circle():
            raise ConfigError(f"jobs that require each other in a circle: {', '.join(circle)}")

    @property
    def stuck(self) -> bool:
        """Whether nothing can begin unless a running job ends: all is over, or what is left waits for a lost cause."""
        return not self._deferred and not self.ready()

    def ready(self) -> list[Job]:
        """The waiting jobs that may begin now, deferred ones apart."""
        succeeded = {name for name, how in self.exits.items() if how in SUCCESSES}
        return [self._jobs[name] for name in self._waiting if self._required(name) <= succeeded]

    def begin(self, job: Job) -> None:
        """Take a job out of the queue."""
        self._waiting.remove(job.run_id)

    def defer(self, job: Job) -> None:
        """Put a job aside that another launcher is at work on."""
        if job.run_id in self._waiting:
            self._waiting.remove(job.run_id)
        self._deferred.append(job.run_id)

    def deferred(self) -> list[Job]:
        """The jobs put aside."""
        return [self._jobs[name] for name in self._deferred]

    def resume(self, job: Job) -> None:
        """Put a deferred job back to the head of the queue."""
        self._deferred.remove(job.run_id)
        self._waiting.insert(0, job.run_id)

    def finish(self, job: Job, how: Exit) -> list[tuple[Job, str]]:
        """Note how a job ended.

        Returns:
            The jobs that can never begin because of it, each with the job they lack: their exit is ``dependency``
            where this one failed. Where it was merely interrupted they stay in the queue.
        """
        self.exits[job.run_id] = how
        for queue in (self._waiting, self._deferred):
            if job.run_id in queue:
                queue.remove(job.run_id)
        if how in SUCCESSES or how in ("interrupted", "elsewhere", "pending", "submitted"):
            return []
        return self._give_up(job.run_id)

    def rest(self) -> dict[str, Exit]:
        """How every job stands if nothing more is begun."""
        left: dict[str, Exit] = dict.fromkeys(self._waiting, "pending")
        left |= dict.fromkeys(self._deferred, "elsewhere")
        return {name: self.exits.get(name) or left.get(name, "pending") for name in self._jobs}

    def _give_up(self, lacking: str) -> list[tuple[Job, str]]:
        lost: list[tuple[Job, str]] = []
        for name in [name for name in (*self._waiting, *self._deferred) if lacking in self._required(name)]:
            if name not in self.exits:
                lost.append((self._jobs[name], lacking))
                lost += self.finish(self._jobs[name], "dependency")
        return lost

    def _required(self, name: str) -> frozenset[str]:
        return self._jobs[name].requires & self._jobs.keys()

    def _circle(self) -> list[str]:
        left = dict.fromkeys(self._jobs)
        while free := [name for name in left if not self._required(name) & left.keys()]:
            for name in free:
                del left[name]
        return sorted(left)
