"""Training sources: patches from a cache, or computed from fresh crops."""
