"""What a run is, what it leaves, and what is computed from it: specification, record, store, contingency, metrics."""
