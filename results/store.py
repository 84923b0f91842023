"""The store of results: runs, what grids asked for, and which weights stand behind which name.

Layout (readers ignore files that they do not know)::

    store.json             the schema of the store
    weights.json           backbone -> digest of the weights that all of its runs used
    grids/<name>.json      what each grid asked for
    scores/                what reports computed from contingencies: see ``results.kept_scores``
    eigenspaces/<key>.npz  exact eigenvectors of held-out graphs, by the graph: see ``methods.exact``
    flops/<key>.json       counted operations of backbones, by network and size: see ``bench.measure.flops``
    texts/<digest>.npz     words that clusters are named by: see ``results.naming``
    checks/<code>/         what check-method found of methods of the user's own: see ``results.checks``
    records/<run_id>/      all that a run leaves: see ``results.runs``
    capsule.json           only in a capsule, a store that nothing is written into: see ``results.capsule``
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Self

from spectral_bench.common.errors import StoreError
from spectral_bench.common.files import write_bytes, write_json
from spectral_bench.common.locks import exclusive
from spectral_bench.common.words import Words
from spectral_bench.results.checks import CheckState, check_state
from spectral_bench.results.claims import Busy
from spectral_bench.results.documents import check_version, document_bytes, names_in, read_document, require_file_name
from spectral_bench.results.manifest import MANIFEST_SCHEMA_VERSION, Manifest
from spectral_bench.results.naming import read_words, write_words
from spectral_bench.results.runs import Run, RunRecords

__all__ = ["STORE_SCHEMA_VERSION", "Busy", "Run", "Store"]

STORE_SCHEMA_VERSION = 1
STORE_FILE = "store.json"
FEATURES_FOLDER = "features"
EIGENSPACES_FOLDER = "eigenspaces"
SCORES_FOLDER = "scores"
FLOPS_FOLDER = "flops"
TEXTS_FOLDER = "texts"
CAPSULE_FILE = "capsule.json"


class Store(RunRecords):
    """Records under one folder. ``Store.open`` checks that it is a store.

    Args:
        path: the folder of the store.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        super().__init__(self.path / "records")

    @property
    def eigenspaces_folder(self) -> Path:
        """Where exact eigenspaces of held-out graphs lie, which runs of the same features and graph share."""
        return self.path / EIGENSPACES_FOLDER

    @property
    def flops_folder(self) -> Path:
        """Where counted operations of backbones lie, which runs of the same network and image size share."""
        return self.path / FLOPS_FOLDER

    @property
    def features_folder(self) -> Path:
        """Where the caches of features lie that its runs share."""
        return self.path / FEATURES_FOLDER

    @property
    def scores_folder(self) -> Path | None:
        """Where reports keep scores, by the digests of what they were computed from; None: a capsule keeps none."""
        return None if self.is_capsule else self.path / SCORES_FOLDER

    @property
    def is_capsule(self) -> bool:
        """Whether it is a capsule, which is read and never written."""
        return (self.path / CAPSULE_FILE).exists()

    @classmethod
    def open(cls, path: Path | str, *, create: bool = False, to_write: bool = False) -> Self:
        """The store at ``path``.

        Args:
            path: its folder.
            create: make a store of a folder that is missing or empty, and write into it.
            to_write: something in it is to be changed.

        Raises:
            StoreError: no store is there, a newer release wrote it, it cannot be made, or it is a capsule and was to be
                written.
        """
        store = cls(Path(path).absolute())
        if not (store.path / STORE_FILE).exists():
            store._create(create)
        store._check()
        if (create or to_write) and store.is_capsule:
            raise StoreError(
                f"{store.path}: a capsule, which is read only; name the store of the runs, or a new folder, by --out"
            )
        return store

    def _create(self, wanted: bool) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise StoreError(f"{self.path}: expected the folder of a store, found a file")
        if not wanted:
            what = "a folder without store.json" if self.path.exists() else "nothing"
            raise StoreError(f"{self.path}: expected a store of results, found {what}")
        found = names_in(self.path)
        if found and STORE_FILE not in found:  # else another process has just made it
            raise StoreError(f"{self.path}: neither empty nor a store (no store.json); name another folder")
        write_json(self.path / STORE_FILE, {"kind": "results", "schema_version": STORE_SCHEMA_VERSION})

    def _check(self) -> None:
        path = self.path / STORE_FILE
        try:
            version = int(json.loads(path.read_bytes())["schema_version"])
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise StoreError(
                f"{path}: cannot be read as the head of a store ({type(error).__name__}: {error})"
            ) from error
        check_version(path, version, STORE_SCHEMA_VERSION)

    def write_manifest(self, manifest: Manifest) -> None:
        """Store what a grid asked for, in place of what it asked for before."""
        write_bytes(self.path / "grids" / f"{require_file_name(manifest.name)}.json", document_bytes(manifest))

    def manifests(self) -> list[Manifest]:
        """What each grid asked for, in the order of their names; copies under other names are passed over.

        Raises:
            StoreError: a newer release wrote one.
        """
        folder = self.path / "grids"
        files = [folder / name for name in names_in(folder) if name.endswith(".json")]
        found = (read_document(file, Manifest, MANIFEST_SCHEMA_VERSION) for file in files)
        read = zip(files, found, strict=True)
        return [manifest for file, manifest in read if manifest is not None and manifest.name == file.stem]

    def keep_words(self, words: Words) -> None:
        """Keep words, by their digest, so that scores need no file of text vectors any more.

        Raises:
            StoreError: the store cannot be written.
        """
        path = self._words(words.digest)
        if not path.exists():
            write_words(path, words)

    def words(self, digest: str) -> Words:
        """The words of a digest.

        Raises:
            StoreError: the store holds none, or its file is torn.
        """
        return read_words(self._words(digest))

    def _words(self, digest: str) -> Path:
        return self.path / TEXTS_FOLDER / f"{require_file_name(digest)}.npz"

    def check_state(self, code: str) -> CheckState:
        """What today's promises say of the code of a method of the user's own; see ``results.checks``."""
        return check_state(self.path, code)

    def weights_lock(self) -> dict[str, str]:
        """Backbone -> digest of the weights that this store's runs used.

        Raises:
            StoreError: the file cannot be read.
        """
        path = self.path / "weights.json"
        try:
            value = json.loads(path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise StoreError(f"{path}: cannot be read ({error})") from error
        return {str(name): str(digest) for name, digest in value.items()}

    def lock_weights(self, name: str, digest: str) -> None:
        """Fix which weights stand behind a backbone's name in this store.

        Raises:
            StoreError: the store has other weights under this name.
        """
        with exclusive(self.path / "weights.lock"):
            known = self.weights_lock()
            if known.get(name, digest) != digest:
                raise StoreError(
                    f"{self.path}: its runs used weights {known[name]} for backbone {name}, not {digest}; "
                    "use another store for other weights"
                )
            if name not in known:
                write_json(self.path / "weights.json", known | {name: digest})
