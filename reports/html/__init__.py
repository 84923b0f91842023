"""The HTML report: one self-contained page that opens from disk and asks no host for anything."""
