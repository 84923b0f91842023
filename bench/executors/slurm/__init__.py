"""Runs as jobs of a Slurm cluster. In the order of a run's life:

* ``executor``: what a launch, and ``bench cancel``, do. ``script`` checks and writes what sbatch is given, ``submit``
  packs runs into arrays and hands them over, ``submissions`` keeps in the store what was submitted.
* ``job``: what a job does on its node, and what happens when it is preempted or meets its time limit.
* ``status``: how submitted runs stand, by the store and by what ``queue`` has read of Slurm. ``causes``: why a run has
  no record though its job is over. ``wait``: for those that stay.
* ``cluster``: Slurm's commands, and all that is read of the cluster itself.
* ``task``: what ``job`` was called, for jobs of earlier releases that still wait.
"""
