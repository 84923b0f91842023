from __future__ import annotations

import json
import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from store_samples import manifest, spec

from spectral_bench.common.errors import StoreError
from spectral_bench.results.store import STORE_SCHEMA_VERSION, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store", create=True)


class TestOpen:
    def test_makes_a_store_that_opens_again(self, tmp_path: Path) -> None:
        made = Store.open(tmp_path / "deep" / "store", create=True)
        head = json.loads((made.path / "store.json").read_text())
        assert head["schema_version"] == STORE_SCHEMA_VERSION
        assert Store.open(made.path).path == made.path
        assert Store.open(made.path, create=True).runs() == []

    def test_path_is_absolute_whatever_the_folder_later(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        assert Store.open("store", create=True).path == tmp_path / "store"

    def test_missing_store_is_not_made_by_a_reader(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match=r"store: expected a store of results, found nothing"):
            Store.open(tmp_path / "store")
        assert not (tmp_path / "store").exists()

    def test_folder_that_is_no_store(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match=r"a folder without store\.json"):
            Store.open(tmp_path)

    def test_never_makes_a_store_of_a_folder_with_other_things(self, tmp_path: Path) -> None:
        (tmp_path / "thesis.tex").touch()
        with pytest.raises(StoreError, match=r"neither empty nor a store"):
            Store.open(tmp_path, create=True)
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]

    def test_empty_folder_with_hidden_files_will_do(self, tmp_path: Path) -> None:
        (tmp_path / ".snapshot").mkdir()
        assert Store.open(tmp_path, create=True).runs() == []

    @pytest.mark.parametrize("create", [True, False])
    def test_file_in_place_of_the_folder(self, tmp_path: Path, create: bool) -> None:
        (tmp_path / "store").write_text("not a folder")
        with pytest.raises(StoreError, match=r"store: expected the folder of a store, found a file"):
            Store.open(tmp_path / "store", create=create)

    def test_newer_schema_names_both_versions(self, store: Store) -> None:
        (store.path / "store.json").write_text(json.dumps({"schema_version": 7}))
        with pytest.raises(StoreError, match=r"store\.json: written with schema 7; this release reads up to 1"):
            Store.open(store.path)

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema_version": "x"}', "\xff"])
    def test_head_that_cannot_be_read(self, store: Store, text: str) -> None:
        (store.path / "store.json").write_bytes(text.encode("latin-1"))
        with pytest.raises(StoreError, match=r"store\.json: cannot be read as the head of a store"):
            Store.open(store.path, create=True)

    def test_many_may_make_it_at_once(self, tmp_path: Path) -> None:
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda _: Store.open(tmp_path / "store", create=True).path, range(16)))
        assert set(made) == {tmp_path / "store"}


class TestManifests:
    def test_round_trip_in_order_of_names(self, store: Store) -> None:
        for name in ("zeta", "alpha"):
            store.write_manifest(manifest(name))
        assert store.manifests() == [manifest("alpha"), manifest("zeta")]

    def test_last_one_wins(self, store: Store) -> None:
        store.write_manifest(manifest(title="first"))
        store.write_manifest(manifest(title="second"))
        assert [found.rows[0].title for found in store.manifests()] == ["second"]

    def test_none_at_first_and_other_files_are_ignored(self, store: Store) -> None:
        assert store.manifests() == []
        (store.path / "grids").mkdir()
        (store.path / "grids" / "notes.txt").write_text("mine")
        assert store.manifests() == []

    def test_torn_manifest_is_absent_with_a_warning(self, store: Store, caplog: pytest.LogCaptureFixture) -> None:
        store.write_manifest(manifest("torn"))
        path = store.path / "grids" / "torn.json"
        path.write_bytes(path.read_bytes()[:-40])
        with caplog.at_level(logging.WARNING):
            assert store.manifests() == []
        assert "torn.json: not a valid Manifest" in caplog.text

    def test_newer_manifest_is_refused(self, store: Store) -> None:
        store.write_manifest(manifest())
        path = store.path / "grids" / "example.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 9, "novelty": 1}))
        with pytest.raises(StoreError, match=r"example\.json: written with schema 9; this release reads up to 2"):
            store.manifests()

    @pytest.mark.parametrize("name", ["", ".hidden", "a/b", "../escape"])
    def test_name_that_would_leave_the_folder(self, store: Store, name: str) -> None:
        with pytest.raises(StoreError, match="cannot name a file of the store"):
            store.write_manifest(manifest(name))


class TestWeights:
    def test_first_digest_is_kept(self, store: Store) -> None:
        assert store.weights_lock() == {}
        store.lock_weights("vit", "aaa")
        store.lock_weights("vit", "aaa")
        store.lock_weights("lite0", "bbb")
        assert store.weights_lock() == {"vit": "aaa", "lite0": "bbb"}

    def test_other_weights_under_the_same_name_are_refused(self, store: Store) -> None:
        store.lock_weights("vit", "aaa")
        with pytest.raises(StoreError, match=r"used weights aaa for backbone vit, not bbb; use another store"):
            store.lock_weights("vit", "bbb")
        assert store.weights_lock() == {"vit": "aaa"}

    def test_none_is_lost_between_many_writers(self, store: Store) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda i: store.lock_weights(f"net{i}", f"digest{i}"), range(24)))
        assert store.weights_lock() == {f"net{i}": f"digest{i}" for i in range(24)}

    def test_torn_file_is_an_error_and_not_an_empty_lock(self, store: Store) -> None:
        (store.path / "weights.json").write_text("{")
        with pytest.raises(StoreError, match=r"weights\.json: cannot be read"):
            store.lock_weights("vit", "aaa")


def test_needs_no_torch() -> None:
    code = "import sys, spectral_bench.results.store; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_run_ids_with_a_slash_are_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="cannot name a file"):
        store.run_folder("../elsewhere")
    assert store.run_folder(spec().run_id).parent == store.records_folder


def test_copy_of_a_manifest_by_a_sync_client_is_no_grid(store: Store) -> None:
    store.write_manifest(manifest())
    path = store.path / "grids" / "example.json"
    path.with_name("example.sync-conflict-20250131.json").write_bytes(path.read_bytes())
    assert [found.name for found in store.manifests()] == ["example"]
