"""Names of classes as unit vectors of a space that images and texts share: all of them that decides a name."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Words:
    """Classes as vectors.

    Attributes:
        classes: K names, in the order of a class set.
        vectors: (P, D) float32 of length 1.
        class_of: (P,) int64, the class of each vector.
    """

    classes: tuple[str, ...]
    vectors: NDArray[np.float32]
    class_of: NDArray[np.int64]

    @property
    def width(self) -> int:
        """D."""
        return int(self.vectors.shape[1])

    @functools.cached_property
    def digest(self) -> str:
        """Of all that counts: names, vectors and the class of each. How they were made is told by none of it."""
        found = hashlib.sha256(json.dumps([self.classes, self.vectors.shape], ensure_ascii=False).encode())
        found.update(np.ascontiguousarray(self.vectors, dtype="<f4").data)
        found.update(np.ascontiguousarray(self.class_of, dtype="<i8").data)
        return found.hexdigest()[:16]
