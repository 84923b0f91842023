"""Slurm's own commands, and what their refusals mean."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from spectral_bench.bench.executors.slurm.surroundings import command_environment
from spectral_bench.common.errors import ConfigError, UserError

TIMEOUT_S = 60.0
_SILENT = (
    "unable to contact slurm controller",
    "unable to establish controller machine",
    "unable to establish configuration source",
    "connection refused",
    "connection timed out",
    "connection reset",
    "socket timed out",
    "zero bytes were transmitted",
    "transport endpoint is not connected",
    "no route to host",
    "communication connection failure",
    "persistinit msg",
    "munge",
    "unexpected message received",
    "controller not responding",
    "backup controller",
)


class SlurmMissing(ConfigError):
    """Slurm's commands are not on the path of this machine."""


class SlurmUnreachable(UserError):
    """Slurm's controller, or its accounting database, does not answer. Says nothing about any job."""


class SlurmRefused(UserError):
    """Slurm understood, and will not do it."""


@dataclass(frozen=True)
class Answer:
    """What a command said.

    Attributes:
        code: its exit code.
        out: standard output.
        err: standard error.
    """

    code: int
    out: str = ""
    err: str = ""


class Runner(Protocol):
    """Runs one of Slurm's commands."""

    def __call__(self, command: Sequence[str], /) -> Answer:
        """Run it to its end.

        Raises:
            FileNotFoundError: it is not on the path.
            TimeoutError: it did not end.
        """
        ...


def run_command(command: Sequence[str], /) -> Answer:
    """Run a command of this machine for at most a minute, free of the variables of a surrounding job or profile."""
    environment = command_environment(command[0], os.environ)
    try:
        done = subprocess.run(
            list(command),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"{command[0]} did not answer within {TIMEOUT_S:g} s") from error
    return Answer(done.returncode, done.stdout, done.stderr)


class Slurm:
    """Slurm, as far as it is asked here.

    Args:
        runner: what runs its commands; None: this machine.
    """

    def __init__(self, runner: Runner | None = None) -> None:
        self._runner = runner or run_command

    def ask(self, *command: str) -> str:
        """The standard output of a command.

        Raises:
            SlurmMissing: the command is not on the path.
            SlurmUnreachable: Slurm does not answer.
            SlurmRefused: it said no.
        """
        answer = self.answer(*command)
        if answer.code != 0:
            raise SlurmRefused(f"{command[0]}: {said(answer)}")
        return answer.out

    def answer(self, *command: str) -> Answer:
        """What a command said, a refusal included.

        Raises:
            SlurmMissing, SlurmUnreachable: as for ``ask``.
        """
        try:
            answer = self._runner(command)
        except FileNotFoundError as error:
            raise SlurmMissing(
                f"no {command[0]} on the path: run this on a machine that can submit to Slurm (load the site's module "
                "where there is one), or use --executor local"
            ) from error
        except TimeoutError as error:
            raise SlurmUnreachable(f"{error}: Slurm is not reachable; try again later") from error
        if answer.code != 0 and any(word in answer.err.lower() for word in _SILENT):
            raise SlurmUnreachable(f"{command[0]}: {said(answer)}: Slurm is not reachable; try again later")
        return answer


def said(answer: Answer) -> str:
    """What a command complained of, in one line."""
    lines = [line.strip() for line in (answer.err or answer.out).splitlines() if line.strip()]
    told = "; ".join(line.removeprefix("sbatch: error: ").removeprefix("sbatch: ") for line in lines)
    return told or f"exit code {answer.code}"
