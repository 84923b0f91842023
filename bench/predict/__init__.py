"""A stored fit at work on images: masks of any files, and the panels of a report's gallery."""
