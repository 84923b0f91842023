"""Settings of Slurm jobs: of the grid, of the command line, against the cluster."""

from __future__ import annotations

import pytest
from fake_slurm import FakeSlurm
from hypothesis import given
from hypothesis import strategies as st

from spectral_bench.bench.executors.slurm.cluster import Partition, Slurm, SlurmUnreachable, read_partitions
from spectral_bench.bench.executors.slurm.script import check_cluster, check_settings
from spectral_bench.bench.grid.keys import ExecutorBlock, SlurmSettings, megabytes, minutes
from spectral_bench.common.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90", 90),
        ("90m", 90),
        ("8h", 480),
        ("1.5h", 90),
        ("2d", 2880),
        ("1-12:00:00", 2160),
        ("08:30:00", 510),
        ("00:00:01", 1),
        ("0:45", 45),
    ],
)
def test_times(text: str, expected: int) -> None:
    assert minutes(text) == expected


@pytest.mark.parametrize("text", ["", "0", "soon", "8 weeks", "-3", "00:00:00"])
def test_times_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="expected a time such as"):
        minutes(text)


@given(st.integers(0, 20), st.integers(0, 23), st.integers(0, 59))
def test_times_as_slurm_writes_them(days: int, hours: int, mins: int) -> None:
    total = (days * 24 + hours) * 60 + mins
    if total:
        assert minutes(f"{days}-{hours:02}:{mins:02}:00") == total


@pytest.mark.parametrize(("text", "expected"), [("16G", 16384), ("4000M", 4000), ("4000", 4000), ("1.5gb", 1536)])
def test_memory(text: str, expected: int) -> None:
    assert megabytes(text) == expected


def test_numbers_are_read_as_texts() -> None:
    assert SlurmSettings.model_validate({"mem": 4000, "time": 90}) == SlurmSettings(mem="4000", time="90")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mem": "lots"}, "expected memory such as"),
        ({"mem": 12}, 'got "12", which is 12 MB'),
        ({"time": "never"}, "expected a time such as"),
        ({"sbatch": {"array": "1-3"}}, "the option array of sbatch is set by bench itself"),
        ({"sbatch": {"kill_on_invalid_dep": "no"}}, "the option kill_on_invalid_dep of sbatch is set by bench itself"),
        ({"sbatch": {"outpu": "x"}}, "the option outpu of sbatch is set by bench itself"),
        ({"sbatch": {"cpus-per-task": 3}}, "the option cpus-per-task of sbatch has a setting of its own: cpus"),
        ({"gpus": "a100"}, "expected a number of GPUs"),
        ({"gpus": -1}, "expected a number of GPUs from 0"),
        ({"runs_per_job": 0}, "greater than or equal to 1"),
    ],
)
def test_settings_that_are_not_valid(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SlurmSettings.model_validate(values)


def test_what_takes_precedence() -> None:
    block = ExecutorBlock(
        partition="cpu",
        time="1h",
        methods={"spin": SlurmSettings(time="8h", gpus=1)},
        features=SlurmSettings(partition="gpu"),
    )
    assert block.settings("kmeans") == SlurmSettings(partition="cpu", time="1h")
    assert block.settings("spin") == SlurmSettings(partition="cpu", time="8h", gpus=1)
    assert block.settings(None) == SlurmSettings(partition="gpu", time="1h")
    assert block.settings("spin", SlurmSettings(time="2h")) == SlurmSettings(partition="cpu", time="2h", gpus=1)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"mem": "8G", "max_mem": "4G"}, "mem: 8G is more than max_mem, 4G"),
        ({"time": "2h", "max_time": "90m"}, "time: 2h is more than max_time, 90m"),
    ],
)
def test_more_than_the_most_is_refused_wherever_it_is_stated(asked: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ExecutorBlock.model_validate(asked).settings("kmeans")
    first, most = asked.items()
    with pytest.raises(ConfigError, match=message):
        ExecutorBlock.model_validate(dict([most])).settings("kmeans", SlurmSettings.model_validate(dict([first])))


def test_of_a_block_of_a_method_its_name_is_told() -> None:
    block = ExecutorBlock(max_mem="4G", methods={"spin": SlurmSettings(mem="8G")})
    with pytest.raises(ConfigError, match="mem for spin: 8G is more than max_mem, 4G"):
        block.settings("spin")
    assert block.settings("kmeans").max_mem == "4G"


def test_a_most_alone_allows_the_default_time() -> None:
    assert ExecutorBlock(max_time="90m", mem="0", max_mem="4G").settings(None).max_time == "90m"


def test_numbers_of_gpus() -> None:
    assert SlurmSettings(gpus="2").n_gpus == SlurmSettings(gpus=2).n_gpus == SlurmSettings(gpus="a100:2").n_gpus == 2


def test_partitions() -> None:
    text = "debug*|4|8000|(null)\ndebug*|8+|4000|gpu:a100:2(S:0-1),shard:8\nlow|1|10|gpu:1\n"
    found, default = read_partitions(text)
    assert default == "debug"
    assert found == {"debug": Partition("debug", 8, 8000, 2), "low": Partition("low", 1, 10, 1)}


def check(**settings: object) -> None:
    check_settings(Slurm(FakeSlurm()), [SlurmSettings.model_validate(settings)])


def test_settings_that_fit() -> None:
    check(mem="8000M", cpus=4)
    check(partition="gpu", gpus="a100:2", mem="15G")
    check(partition="debug,gpu", mem="15G")
    check(partition="quiet", mem="4G")  # hidden: sinfo shows it only where all are asked for


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"partition": "gpus"}, r'--partition: unknown partition "gpus"; did you mean "gpu"\? valid: debug, gpu, low'),
        ({"mem": "900G"}, r"--mem 900G: the largest node of partition debug has 8000 MB; ask for less"),
        ({"cpus": 64}, r"--cpus 64: no node of partition debug has more than 4 cpus"),
        ({"gpus": 1}, r"--gpus 1: no node of partition debug has more than 0 gpus"),
        ({"partition": "gpu", "gpus": 3}, r"--gpus 3: no node of partition gpu has more than 2 gpus"),
    ],
)
def test_settings_that_no_node_fits(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check(**settings)


def test_what_only_sbatch_knows() -> None:
    fake = FakeSlurm(refuse="Invalid account or account/partition combination specified")
    with pytest.raises(ConfigError, match="Slurm would refuse such jobs: Invalid account"):
        check_settings(Slurm(fake), [SlurmSettings(account="nobody")])


def test_each_setting_is_tried_once() -> None:
    fake = FakeSlurm()
    check_settings(Slurm(fake), [SlurmSettings(), SlurmSettings(), SlurmSettings(cpus=2)])
    assert len(fake.asked("sbatch")) == 2


def test_accounting_that_is_off() -> None:
    with pytest.raises(ConfigError, match="Slurm keeps no accounts here"):
        check_cluster(Slurm(FakeSlurm(accounting="accounting_storage/none")))
    assert check_cluster(Slurm(FakeSlurm())).name == "fake"


def test_a_controller_that_does_not_answer() -> None:
    with pytest.raises(SlurmUnreachable, match="not reachable; try again later"):
        check_cluster(Slurm(FakeSlurm(unreachable=True)))
