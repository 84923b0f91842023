"""The feature cache: memory-mapped arrays that one process writes and all read."""
