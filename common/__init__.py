"""Small parts that every package needs: errors, name suggestions, registries, seed streams and atomic files."""
