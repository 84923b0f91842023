"""Masks of any images, by a stored fit or one made of them, and the panels of a report's gallery."""
