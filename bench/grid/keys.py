"""The keys of a grid: of a run, and of the ``executor`` block with what a Slurm job of each method asks for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, field_validator

from spectral_bench.common.documents.document import Document, KeyPath, Place, standing_at
from spectral_bench.common.errors import ConfigError
from spectral_bench.results.specification import Features, Transform

NamedTransform = Literal["evaluation", "paper"]


def _transform_kind(value: Any) -> str:
    return "mapping" if isinstance(value, (dict, Transform)) else "name"


class RunSettings(BaseModel):
    """The keys of one run, with their defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | None = Field(None, description="title of the row in tables; default: made of the method and settings")
    method: str = Field(description="a method, by name or as path/to/file.py:Class")
    params: dict[str, Any] = Field({}, description="parameters of the method that differ from their defaults")
    dataset: str = Field("synthetic", description="the data set that the fit is evaluated on")
    train_dataset: str | None = Field(None, description="the data set that it is trained on; default: dataset")
    split: str = Field("val", description="the split that it is evaluated on")
    train_split: str = Field("train", description="the split that it is trained on")
    backbone: str = Field("efficientnet_lite0", description="the frozen network")
    backbone_options: dict[str, Any] = Field({}, description="options of the backbone")
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**63)], ...] = Field((0,), min_length=1, description="one run a seed")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="of the networks that are trained")
    features: Features = Field(Features(), description="how patch features are made: {mode, views, dtype}")
    transform: Annotated[
        Annotated[NamedTransform, Tag("name")] | Annotated[Transform, Tag("mapping")], Discriminator(_transform_kind)
    ] = Field(
        "evaluation",
        description="training images: evaluation (the data set's evaluation size), paper (random scale, crop, flip "
        "and colours), or a mapping",
    )
    subset: int | None = Field(None, ge=1, description="number of training images; default: all")
    eval_subset: int | None = Field(None, ge=1, description="number of images evaluated; default: all")
    protocols: tuple[Any, ...] = Field(
        (), description="names, paths or mappings; []: fit only; default: those of the grid"
    )

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        twice = sorted({seed for seed in seeds if seeds.count(seed) > 1})
        if twice:
            raise ValueError(f"the seed {twice[0]} stands here twice")
        return seeds


RUN_KEYS: tuple[str, ...] = tuple(RunSettings.model_fields)
EXPANSION_KEYS: tuple[str, ...] = ("matrix", "zip", "exclude")
# Keys that a run cannot be multiplied by: seeds and protocols are lists of their own, params go key by key.
NO_AXIS: Mapping[str, str] = {
    "seeds": "seeds is a list of its own and belongs beside method",
    "protocols": "protocols is a list of its own; every run is evaluated under all of them",
    "params": "list the parameters themselves, without params",
}


def is_run_key(key: str) -> bool:
    """Whether a key, dotted or not, is one of a run; any other is a parameter of the method."""
    return key.partition(".")[0] in RUN_KEYS


def parameter_path(key: str) -> KeyPath:
    """The key path below a run: ``k`` gives params, k; ``features.views`` gives features, views."""
    steps = key.split(".")
    return tuple(steps) if is_run_key(key) else ("params", *steps)


def put(run: Document, key: str, part: Document) -> Document:
    """A copy of a run in which ``part`` stands under ``key``, a key of runs, dotted or not, or a parameter."""
    path = parameter_path(key)
    for depth in range(1, len(path)):
        above = path[:depth]
        if not isinstance(run.get(above), dict):
            shown = ".".join(str(step) for step in above)
            run = run.with_part(above, standing_at(Place(part.place.where, shown), {}))
    return run.with_part(path, part)


def over_defaults(defaults: Document, own: Document) -> Document:
    """The defaults overlaid by a run's own values: params key by key, everything else as a whole."""
    return defaults.overlaid(own, merges=lambda path: path in ((), ("params",)))


# Minutes, as sbatch takes a bare number; its own words for units are clocks only.
_TIME_UNITS = {"": 1.0, "m": 1.0, "min": 1.0, "h": 60.0, "d": 1440.0}
_CLOCK = re.compile(r"(?:(?P<days>\d+)-)?(?P<hours>\d+):(?P<minutes>\d\d)(?::(?P<seconds>\d\d))?")
_LEAST_MB = 100  # Python does not start in less: a slip of the unit
_MEMORY_MB = {"K": 1 / 1024, "M": 1.0, "G": 1024.0, "T": 1024.0**2}


# Jobs are found, told apart and put back by these; set otherwise, they would be lost.
_OWN_OPTIONS = (
    *("array", "clusters", "comment", "dependency", "error", "job-name", "kill-on-invalid-dep", "no-requeue", "nodes"),
    *("ntasks", "ntasks-per-node", "open-mode", "output", "parsable", "requeue", "signal", "test-only", "wait", "wrap"),
)
# Options of sbatch that a setting stands for.
_SETTINGS = {
    **{name: name for name in ("partition", "account", "qos", "constraint", "exclude", "mem", "time")},
    **dict.fromkeys(("gpus", "gpus-per-node", "gpus-per-task"), "gpus"),
    **dict.fromkeys(("cpus-per-task", "cpus-per-gpu"), "cpus"),
}


def minutes(text: str) -> int:
    """A time limit in whole minutes, rounded up: ``90`` (minutes), ``90m``, ``8h``, ``1-12:00:00``, ``08:30:00``.

    Raises:
        ValueError: it is no such time, or none at all.
    """
    clock = _CLOCK.fullmatch(text.strip())
    number = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip())
    if clock is not None:
        hours = int(clock["days"] or 0) * 24 + int(clock["hours"])
        found = hours * 60 + int(clock["minutes"]) + int(clock["seconds"] or 0) / 60
    elif number is not None and number[2] in _TIME_UNITS:
        found = float(number[1]) * _TIME_UNITS[number[2]]
    else:
        found = 0.0
    if found <= 0:
        raise ValueError(f'expected a time such as 90m, 8h, 2d or 1-12:00:00, got "{text}"')
    return int(-(-found // 1))  # up: a job that is cut off costs more than a minute


def megabytes(text: str) -> int:
    """Memory in MB (2^20 bytes): ``16G``, ``4000M``, ``4000``; Slurm takes 0 for all that a node has.

    Raises:
        ValueError: it is no such size.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?", text.strip(), re.IGNORECASE)
    found = int(float(match[1]) * _MEMORY_MB[match[2].upper() or "M"]) if match is not None else -1
    if 0 < found < _LEAST_MB or match is None:
        small = f", which is {found} MB" if match is not None else ""
        raise ValueError(f'expected memory such as 16G or 4000M, got "{text}"{small}')
    return found


def _gpus(value: int | str) -> int | str:
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    if isinstance(value, str) and not re.fullmatch(r"[A-Za-z][\w.-]*:[1-9]\d*", value):
        raise ValueError(f'expected a number of GPUs such as 1, or a100:1, got "{value}"')
    if isinstance(value, int) and value < 0:
        raise ValueError(f"expected a number of GPUs from 0, got {value}")
    return value


def _text(value: object) -> object:
    # YAML reads `mem: 4000` as a number, and true is one to Python.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _time(value: str) -> str:
    minutes(value)
    return value


def _memory(value: str) -> str:
    megabytes(value)
    return value


def _foreign(value: dict[str, str | int | bool]) -> dict[str, str | int | bool]:
    """Options of sbatch that are nobody's but the user's."""
    for key in value:
        name = key.replace("_", "-")  # sbatch takes the beginning of an option for the option
        if any(own.startswith(name) for own in _OWN_OPTIONS):
            raise ValueError(f"the option {key} of sbatch is set by bench itself, which finds its jobs by it")
        if meant := next((own for own in _SETTINGS if own.startswith(name)), None):
            raise ValueError(f"the option {key} of sbatch has a setting of its own: {_SETTINGS[meant]}")
    return value


def _lines(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


class SlurmSettings(BaseModel):
    """What a Slurm job asks for. Only what is stated is passed on; anything else is the cluster's default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    partition: str | None = Field(None, min_length=1, description="partition")
    account: str | None = Field(None, min_length=1, description="account that is charged")
    qos: str | None = Field(None, min_length=1, description="quality of service")
    constraint: str | None = Field(None, min_length=1, description="features that the nodes must have")
    exclude: str | None = Field(None, min_length=1, description="nodes to avoid")
    gpus: Annotated[int | str, AfterValidator(_gpus)] = Field(0, description="GPUs a job: 1, or a100:1")
    cpus: int | None = Field(None, ge=1, description="processors a job, and threads of its runs")
    mem: Annotated[str, BeforeValidator(_text), AfterValidator(_memory)] | None = Field(
        None, description="memory a job: 16G; default: what plan predicts, with a margin"
    )
    max_mem: Annotated[str, BeforeValidator(_text), AfterValidator(_memory)] | None = Field(
        None, description="most memory that bench asks for by itself, at first or after a run that needed more"
    )
    time: Annotated[str, BeforeValidator(_text), AfterValidator(_time)] = Field(
        "4h", description="time limit of a job: 90m, 8h, 1-12:00:00; default: what plan predicts, with a margin"
    )
    max_time: Annotated[str, BeforeValidator(_text), AfterValidator(_time)] | None = Field(
        None, description="longest time limit that bench asks for by itself, at first or after a run that needed more"
    )
    array_parallelism: int = Field(64, ge=1, description="jobs of one array that run at a time")
    runs_per_job: int = Field(1, ge=1, description="runs that a job carries out one after the other")
    requeues: int = Field(3, ge=0, description="time limits in a row that a run may meet without any progress")
    signal_delay: int = Field(90, ge=5, description="seconds before the time limit at which runs are told to save")
    setup: Annotated[str | tuple[str, ...], AfterValidator(_lines)] = Field(
        (), description="shell lines before Python starts, such as: source env/bin/activate"
    )
    python: str | None = Field(None, min_length=1, description="Python on the nodes; default: the one that submits")
    sbatch: Annotated[dict[str, str | int | bool], AfterValidator(_foreign)] = Field(
        {}, description="further options of sbatch: {mail-type: END}"
    )

    @property
    def minutes(self) -> int:
        """The time limit in minutes."""
        return minutes(self.time)

    @property
    def n_gpus(self) -> int:
        """The number of GPUs, whatever their kind."""
        return self.gpus if isinstance(self.gpus, int) else int(self.gpus.rpartition(":")[2])


class ExecutorBlock(SlurmSettings):
    """The ``executor`` block: settings of every job, and what some methods, or the extraction of features, change."""

    jobs: int | None = Field(None, ge=1, description="runs at a time on one machine")
    methods: dict[str, SlurmSettings] = Field({}, description="method -> settings that differ for its runs")
    features: SlurmSettings = Field(SlurmSettings(), description="settings that differ where features are extracted")

    def settings(self, method: str | None, stated: SlurmSettings | None = None) -> SlurmSettings:
        """The settings of the jobs of a method.

        Args:
            method: its name; None: extraction of features.
            stated: what the command line states, which takes precedence.

        Raises:
            ConfigError: more is asked for than bench may ask for by itself.
        """
        special = self.features if method is None else self.methods.get(method, SlurmSettings())
        own = {"jobs", "methods", "features"}
        values = self.model_dump(exclude_unset=True, exclude=own) | special.model_dump(exclude_unset=True)
        found = SlurmSettings(**values | (stated.model_dump(exclude_unset=True) if stated else {}))
        for name, asked, most, size in (
            ("mem", found.mem, found.max_mem, megabytes),
            ("time", found.time if "time" in found.model_fields_set else None, found.max_time, minutes),
        ):
            whose = f" for {method or 'features'}" if special.model_fields_set & {name, f"max_{name}"} else ""
            _require_within(name, whose, asked, most, size)
        return found


def _require_within(name: str, whose: str, asked: str | None, most: str | None, size: Callable[[str], int]) -> None:
    # Slurm takes memory of 0 for all that a node has, which is not known here.
    if asked is not None and most is not None and size(asked) > size(most):
        raise ConfigError(
            f"{name}{whose}: {asked} is more than max_{name}, {most}; state one of them, or a larger max_{name}"
        )


SLURM_KEYS: tuple[str, ...] = tuple(SlurmSettings.model_fields)
