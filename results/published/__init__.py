"""Numbers that others have published, each with its protocol, so that they can stand beside measured ones."""

from spectral_bench.results.published.loading import load_published
from spectral_bench.results.published.schema import Fact, Look, Published, PublishedProtocol, PublishedRow

__all__ = ["Fact", "Look", "Published", "PublishedProtocol", "PublishedRow", "load_published"]
