"""Runs on a Slurm cluster: what is submitted is kept in the store, and the records there are the only result."""
