"""Numbers that others have published, each with its protocol, so that they can stand beside measured ones."""

from results.published.loading import load_published
from results.published.schema import Fact, Look, Published, PublishedProtocol, PublishedRow

__all__ = ["Fact", "Look", "Published", "PublishedProtocol", "PublishedRow", "load_published"]
