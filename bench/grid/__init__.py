"""Grids: YAML files that expand into runs, validated before anything runs."""
