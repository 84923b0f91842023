"""The environment of Slurm's commands: what is around the launcher must change neither jobs nor answers.

Slurm takes an option from the command line first, then from a variable of the environment, then from the script. The
variables of a profile (``SBATCH_TIMELIMIT``, ``SQUEUE_STATES``) or of a surrounding job (``SLURM_MEM_PER_NODE``) would
outrank what a submission says and hide jobs from who asks for them.
"""

from __future__ import annotations

from collections.abc import Mapping

from spectral_bench.common.errors import ConfigError

KEPT = ("SLURM_CONF", "SLURM_JWT", "SLURM_CLUSTERS")
"""What it takes to reach the cluster: its configuration, a token, and which cluster of several is meant."""
_PREFIXES = (
    *("SLURM_", "SLURMD_", "SBATCH_", "SALLOC_", "SRUN_", "SQUEUE_", "SACCT_", "SACCTMGR_", "SINFO_", "SCANCEL_"),
    *("SCONTROL_", "SPRIO_", "SSHARE_", "SSTAT_", "SREPORT_", "SATTACH_", "SBCAST_", "SCRUN_", "STRIGGER_", "SDIAG_"),
)
_WHOLE_LISTS = {"SLURM_BITSTR_LEN": "0"}
"""Without it the indices of an array are cut off after 64 characters."""


def command_environment(command: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment that one of Slurm's commands gets; what sbatch gets is the environment of the jobs too."""
    kept = {name: value for name, value in environ.items() if name in KEPT or not name.startswith(_PREFIXES)}
    return kept if command == "sbatch" else kept | _WHOLE_LISTS


def unheeded(environ: Mapping[str, str]) -> list[str]:
    """The settings of sbatch in an environment that jobs do not get."""
    return sorted(name for name in environ if name.startswith("SBATCH_"))


def accounts_of(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The option by which sacct asks for that cluster: unlike the others it does not heed ``SLURM_CLUSTERS``."""
    chosen = environ.get("SLURM_CLUSTERS")
    return ("-M", chosen) if chosen else ()


def chosen_cluster(environ: Mapping[str, str]) -> str | None:
    """The cluster that the environment names, of several that can be reached from here; None: the local one.

    Raises:
        ConfigError: it names several, or names one for sbatch alone.
    """
    chosen = environ.get("SLURM_CLUSTERS") or None
    for_sbatch = environ.get("SBATCH_CLUSTERS") or chosen
    if for_sbatch != chosen:
        raise ConfigError(
            f"SBATCH_CLUSTERS={for_sbatch}: sbatch alone heeds it, so that jobs could not be found again; set "
            f"SLURM_CLUSTERS={for_sbatch}"
        )
    if chosen is not None and ("," in chosen or chosen == "all"):
        raise ConfigError(f"SLURM_CLUSTERS={chosen}: expected the name of one cluster, on which all jobs are submitted")
    return chosen
