"""What is around a launcher, a profile or a job, changes neither what is submitted nor what is seen."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from fake_slurm import FakeSlurm

from spectral_bench.bench.executors.slurm.cluster import (
    Slurm,
    accounts_of,
    chosen_cluster,
    command_environment,
    unheeded,
)
from spectral_bench.bench.executors.slurm.queue import ask
from spectral_bench.bench.executors.slurm.script import check_cluster
from spectral_bench.common.errors import ConfigError

AROUND = {
    "SBATCH_TIMELIMIT": "5",
    "SBATCH_EXPORT": "NONE",
    "SLURM_JOB_ID": "9",
    "SLURM_MEM_PER_NODE": "4000",
    "SLURM_TIME_FORMAT": "relative",
    "SLURMD_NODENAME": "n1",
    "SALLOC_PARTITION": "x",
    "SRUN_CPUS_PER_TASK": "7",
    "SQUEUE_STATES": "RUNNING",
    "SQUEUE_PARTITION": "low",
    "SACCT_LOCAL": "1",
    "SINFO_PARTITION": "low",
    "SCANCEL_STATE": "PENDING",
    "SCONTROL_ALL": "1",
}
ACCESS = {"SLURM_CONF": "/etc/elsewhere.conf", "SLURM_JWT": "token", "SLURM_CLUSTERS": "west"}
OTHERS = {"PATH": "/bin", "MUNGE_SOCKET": "/run/munge", "BENCH_DATA": "/data", "MY_SLURM_NOTES": "x"}


def test_what_outranks_the_script_is_taken_away_and_what_leads_to_the_cluster_is_left() -> None:
    assert command_environment("sbatch", AROUND | ACCESS | OTHERS) == ACCESS | OTHERS
    assert command_environment("squeue", AROUND | ACCESS | OTHERS) == ACCESS | OTHERS | {"SLURM_BITSTR_LEN": "0"}


@pytest.mark.parametrize("command", ["sbatch", "squeue", "sacct", "sinfo", "scancel", "scontrol"])
def test_every_command_of_slurm_gets_it(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = tmp_path / command
    stand_in.write_text(f"#!{sys.executable}\nimport json, os\nprint(json.dumps(dict(os.environ)))\n")
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    for name, value in (AROUND | ACCESS).items():
        monkeypatch.setenv(name, value)
    seen = json.loads(Slurm().ask(command))
    assert seen.keys() & AROUND.keys() == set()
    assert {name: seen[name] for name in ACCESS} == ACCESS


def test_settings_of_a_profile_are_named() -> None:
    assert unheeded(AROUND | OTHERS) == ["SBATCH_EXPORT", "SBATCH_TIMELIMIT"]


class TestSeveralClusters:
    def test_one_that_the_environment_names(self) -> None:
        assert chosen_cluster({}) is None
        assert chosen_cluster({"SLURM_CLUSTERS": ""}) is None
        assert chosen_cluster({"SLURM_CLUSTERS": "west", "SBATCH_CLUSTERS": "west"}) == "west"

    @pytest.mark.parametrize(
        ("environ", "message"),
        [
            ({"SLURM_CLUSTERS": "west,east"}, "SLURM_CLUSTERS=west,east: expected the name of one cluster"),
            ({"SLURM_CLUSTERS": "all"}, "SLURM_CLUSTERS=all: expected"),
            ({"SBATCH_CLUSTERS": "west"}, "SBATCH_CLUSTERS=west: sbatch alone heeds it.*set SLURM_CLUSTERS=west"),
            ({"SLURM_CLUSTERS": "east", "SBATCH_CLUSTERS": "west"}, "set SLURM_CLUSTERS=west"),
        ],
    )
    def test_where_jobs_would_not_be_found_again(
        self, environ: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        fake = FakeSlurm()
        with pytest.raises(ConfigError, match=message):
            check_cluster(Slurm(fake))
        assert fake.commands == []

    def test_sacct_has_to_be_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert accounts_of({}) == ()
        monkeypatch.setenv("SLURM_CLUSTERS", "west")
        fake = FakeSlurm()
        check_cluster(Slurm(fake))
        ask(Slurm(fake), {"bench-a": "7"})
        assert [call[1:3] for call in fake.asked("sacct")] == [("-M", "west")] * 2
