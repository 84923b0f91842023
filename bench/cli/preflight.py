"""What is checked before a grid is run: its data, its extras, its weights and its device."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from spectral_bench.bench.cli.output import progress_bar, say, warn
from spectral_bench.bench.executors.jobs import require_gpu_each
from spectral_bench.bench.features.backbones import load_backbone, weights_digest
from spectral_bench.bench.features.files import find
from spectral_bench.bench.measure.environment import environment, require_crf, software_bfloat16, usable_gpus
from spectral_bench.bench.plan.estimate import has_features, require_space
from spectral_bench.bench.plan.states import Plan, PlannedRun
from spectral_bench.bench.work.order import Execution
from spectral_bench.common.documents.problems import Problems
from spectral_bench.common.errors import ConfigError, DataError
from spectral_bench.common.names import few, unknown
from spectral_bench.datasets.interface import DataRoots, DataSet
from spectral_bench.datasets.registry import open_data
from spectral_bench.datasets.sound import count_warning
from spectral_bench.datasets.subset import subset
from spectral_bench.datasets.verify import unnamed, unreadable_labels
from spectral_bench.methods.params import TrainingParams
from spectral_bench.methods.registry import method_facts
from spectral_bench.results.specification import BackboneSpec, TrainingData, View


def used_splits(plan: Plan) -> dict[tuple[str, str], bool]:
    """(data set, split) that the unfinished runs of a plan look at, in the order of their use -> whether at labels.

    Training looks at none: a fit is never refused for what is wrong with labels, unless its method uses them.
    """
    used: dict[tuple[str, str], bool] = {}
    for run in plan.unfinished:
        if not run.condition.fitted:
            trained_on = (run.spec.data.dataset, run.spec.data.split)
            used[trained_on] = used.get(trained_on, False) or method_facts(run.spec.method).uses_labels
        for view in run.condition.missing:
            used[view.dataset, view.split] = used.get((view.dataset, view.split), False) or view.names is None
    # Rows with a fault of their own are not in the plan; what is wrong with their data is told in the same go.
    return used | dict.fromkeys(plan.further_data, True)


def evaluated_images(plan: Plan) -> dict[tuple[str, str], int | None]:
    """(data set, split) that unfinished runs are evaluated on -> the most images of it that are; None for all."""
    wanted: dict[tuple[str, str], list[int | None]] = {}
    for run in plan.unfinished:
        for view in run.condition.missing:
            if view.names is None:  # naming clusters looks at no label
                wanted.setdefault((view.dataset, view.split), []).append(view.subset)
    return {key: None if None in sizes else max(filter(None, sizes)) for key, sizes in wanted.items()}


def check_data(plan: Plan, roots: DataRoots) -> list[str]:
    """Check every split that unfinished runs look at: images by their headers, labels that are counted in full.

    Returns:
        Warnings, one line each: splits that are not as large as their owners published.

    Raises:
        DataError: a data set is not there, or something is wrong with a split: its first problem and their number.
        InvalidDocument: several are; a line each.
    """
    problems, warnings = Problems(), []
    counted_labels = evaluated_images(plan)
    for (name, split), labels in used_splits(plan).items():
        with problems.gathering():
            warnings += _check_split(open_data(name, roots), split, labels, counted_labels.get((name, split), 0))
    problems.check()
    return warnings


def check_features(plan: Plan, roots: DataRoots) -> None:
    """Check the files of features that unfinished runs read against their images, by names and headers.

    Raises:
        DataError: images without features, or a file that is not as it should be.
        InvalidDocument: several splits have such; a line each.
    """
    problems, seen = Problems(), set[str]()
    for run in plan.unfinished:
        if run.spec.features.mode != "files":
            continue
        from spectral_bench.bench.features.from_files import check  # loads torch

        sources: list[TrainingData | View] = [] if run.condition.fitted else [run.spec.data]
        for source in (*sources, *run.condition.missing):
            key = run.spec.features.model_dump_json() + source.model_dump_json()
            if key in seen:
                continue
            seen.add(key)
            with problems.gathering():
                images = open_data(source.dataset, roots).images(source.split)
                files = find(run.spec.features, source.dataset, source.split)
                channels = run.spec.backbone.options["channels"]
                check(files, source, images, subset(images.ids, source.subset), tuple(channels))
    problems.check()


def _check_split(data: DataSet, split: str, labels: bool, counted: int | None) -> list[str]:
    """Check one split; ``counted``: the images whose labels are counted, None for all. Returns a warning, or none."""
    found = data.problems(split, labels=labels)
    if counted != 0:
        with progress_bar(f"checking labels of {data.info.name} {split}") as progress:
            found += unnamed(found, unreadable_labels(data, split, counted, progress=progress))
    if found:
        more = f" (and {len(found) - 1} more; see bench data verify)" if len(found) > 1 else ""
        raise DataError(f"{found[0]}{more}")
    warning = count_warning(data, split)
    return [warning] if warning else []


def check_plan(
    plan: Plan,
    execution: Execution,
    roots: DataRoots,
    gpus: Sequence[str] = (),
    jobs: int | None = None,
    problems: Problems | None = None,
) -> None:
    """Check all that a plan needs, and print what is odd about its data and what will be slow.

    Args:
        plan: what is to be run.
        execution: how.
        roots: where the data is.
        gpus: to hand out.
        jobs: runs at a time; None: one.
        problems: what is wrong with the grid already, which is raised here together with all that is found.

    Raises:
        ConfigError, DataError, StoreError: something is missing, wrong, or does not fit.
    """
    # Each check in a block of its own, so that one go tells all that is wrong.
    problems = Problems() if problems is None else problems
    with problems.gathering():
        require_space(plan, execution.cache_limit)
    with problems.gathering():
        require_crf(view for run in plan.unfinished for view in run.condition.missing)
    if execution.executor != "slurm":  # this machine's devices say nothing of the nodes'
        with problems.gathering():
            check_device(execution.device)
            check_gpus(gpus, execution.executor, [execution.device])
            if not gpus:
                crowded = shared_gpu([execution.device] * len(plan.unfinished), jobs)
                for warning in filter(None, (slow_precision(plan, execution.device), crowded)):
                    warn(warning)
    with problems.gathering():
        for warning in check_data(plan, roots):
            warn(warning)
    problems.check()
    check_features(plan, roots)


def check_device(device: str) -> None:
    """Refuse a CUDA device that this machine lacks. Imports torch only where CUDA was asked for by name.

    Raises:
        ConfigError: there is no such device.
    """
    if device.startswith("cuda"):
        from spectral_bench.bench.run.context import resolve_device

        resolve_device(device)


def slow_precision(plan: Plan, device: str) -> str | None:
    """A warning where fits in bfloat16 would be trained by a processor that computes it in software.

    Imports torch only where a fit in bfloat16 is left to do.
    """
    rows = dict.fromkeys(run.title for run in plan.unfinished if _trains_in_half(run))
    if not rows:
        return None
    from spectral_bench.bench.run.context import resolve_device

    if resolve_device(device).type != "cpu" or not software_bfloat16():
        return None
    return (
        f"precision bfloat16 ({few(list(rows))}): this processor computes it in software, many times slower than "
        "float32; --set precision=float32 makes other fits, in float32"
    )


def _trains_in_half(run: PlannedRun) -> bool:
    """Whether a network is still to be trained in bfloat16; a fit that starts from another leaves that to it."""
    trains = issubclass(method_facts(run.spec.method).params, TrainingParams)
    return run.spec.precision == "bfloat16" and trains and not run.requires and not run.condition.fitted


def check_gpus(gpus: Sequence[str], executor: str, devices: Iterable[str]) -> None:
    """Refuse GPUs to hand out that this machine lacks, or that the runs would not use.

    Args:
        gpus: of ``--gpus``; nothing is checked where there are none.
        executor: what carries out the runs on this machine.
        devices: that the runs ask for.

    Raises:
        ConfigError: as said.
    """
    if not gpus:
        return
    given = f"--gpus {','.join(gpus)}"
    if executor == "inline":
        raise ConfigError(f"{given}: the executor inline hands out no GPUs; use --device cuda:N or --executor local")
    if odd := next((device for device in devices if device not in ("auto", "cuda", "cuda:0")), None):
        raise ConfigError(f"{given}: each run sees one GPU only, as cuda:0, but its device is {odd}; use --device auto")
    usable = usable_gpus(gpus)
    if usable < len(gpus):
        raise ConfigError(f"{given}: CUDA does not find the GPU {gpus[usable]} on this machine; see bench doctor")


def shared_gpu(devices: Iterable[str], jobs: int | None) -> str | None:
    """A warning where runs at a time would all use the first of several GPUs. Imports no torch.

    Args:
        devices: that the runs ask for, one each, where ``--gpus`` hands out none.
        jobs: runs at a time; None: one.
    """
    at_once = min(jobs or 1, sum(device in ("auto", "cuda") for device in devices))
    if at_once < 2:
        return None
    here = environment()
    count = len(here["gpus"])
    # A CPU build of torch sees none of them.
    if count < 2 or str(here["packages"].get("torch")).endswith("+cpu"):
        return None
    return f"{at_once} runs at a time share the first of {count} GPUs; --gpus hands out one a run, at most one job each"


def check_executor(name: str, jobs: int | None, gpus: Sequence[str] = ()) -> None:
    """Refuse an unknown executor, or several jobs where one runs at a time, or more than there are GPUs to hand out.

    Raises:
        ConfigError: as said.
    """
    known = ("local", "slurm", "inline")
    if name not in known:
        raise ConfigError(f"--executor: {unknown('executor', name, known)}")
    if name == "inline" and jobs not in (None, 1):
        raise ConfigError(f"--jobs {jobs}: the executor inline carries out one run at a time; use --executor local")
    if name == "local" and jobs is not None:
        require_gpu_each(jobs, gpus)
    if name == "slurm" and jobs is not None:
        raise ConfigError(f"--jobs {jobs}: with Slurm, --array-parallelism says how many jobs run at a time")


def absent_weights(plan: Plan, *, here: bool) -> list[BackboneSpec]:
    """The backbones whose weights have to be fetched before anything runs, each once.

    Args:
        plan: what is to be run.
        here: whether on this machine. Then weights that a run's features are made with must be here as well; else only
            those are wanted that identities wait for.
    """
    wanted = {run.spec.backbone.model_dump_json(): run.spec.backbone for run in plan.runs if run.provisional}
    networks = [view.names for run in plan.unfinished for view in run.condition.missing if view.names is not None]
    for network in networks if here else ():
        if weights_digest(network.name, network.options) is None:
            wanted.setdefault(network.model_dump_json(), network)
    looked: set[object] = set()
    for run in plan.unfinished if here else ():
        backbone, condition = run.spec.backbone, run.condition
        kind = (run.features, condition.fitted, tuple(view.view_id for view in condition.missing))
        name = backbone.model_dump_json()
        if kind in looked or name in wanted:
            continue
        looked.add(kind)
        absent = weights_digest(backbone.name, backbone.options) is None
        if absent and not has_features(run.spec, plan.store, fitted=condition.fitted, missing=condition.missing):
            wanted[name] = backbone
    return list(wanted.values())


def fetch_weights(wanted: Sequence[BackboneSpec]) -> None:
    """Bring weights to this machine, so that runs get their final identity, and none of them asks the hub.

    Raises:
        DataError: they cannot be fetched; a line each.
    """
    say(f"fetching weights: {', '.join(dict.fromkeys(backbone.name for backbone in wanted))}")
    failed: dict[str, None] = {}
    for backbone in wanted:
        try:
            load_backbone(backbone.name, backbone.options, "cpu")
        except DataError as error:
            failed[str(error)] = None
    if failed:
        raise DataError("\n".join(failed))
