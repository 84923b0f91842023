import errno
import json
import multiprocessing
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from spectral_bench.bench.features.cache import arrays as opening
from spectral_bench.bench.features.cache.arrays import CacheRequest, CacheWriter, open_cache
from spectral_bench.common.errors import DataError, RunInterrupted, StoreError
from spectral_bench.common.geometry import Crop
from spectral_bench.methods.interface import PatchBatch

IDS = ("a", "b", "c")
REQUEST = CacheRequest({"backbone": "any"}, "data-1", IDS, (4, 5), "float32", 10**6)
FORK = multiprocessing.get_context("fork")


def features(image_id: str, shots: int = 2, grid: tuple[int, int] = (2, 3)) -> PatchBatch:
    generator = torch.Generator().manual_seed(ord(image_id))
    tensors = [torch.rand(shots, *grid, width, generator=generator) for width in (4, 5, 3)]
    crops = tuple(Crop((40, 60), shot, 0, 32, 48, shot % 2 == 1) for shot in range(shots))
    return PatchBatch(tuple(tensors[:2]), tensors[2], (image_id,) * shots, crops)


def fill(writer: CacheWriter) -> None:
    for number, image_id in enumerate(IDS):
        writer.add(image_id, (40, 60), features(image_id, shots=1 + number))


def fail(writer: CacheWriter) -> None:
    raise AssertionError("the cache should have been read")


def open_(root: Path, request: CacheRequest = REQUEST, fill=fill, planned: int = 100, stop=lambda: False):
    return open_cache(root, request, fill, planned=lambda: planned, should_stop=stop)


def assert_complete(cache) -> None:
    for number, image_id in enumerate(IDS):
        batch, expected = cache.batch(number), features(image_id, shots=1 + number)
        assert batch.image_ids == expected.image_ids
        assert batch.crops == expected.crops
        assert torch.equal(batch.pixels, expected.pixels)
        assert all(torch.equal(one, other) for one, other in zip(batch.features, expected.features, strict=True))


def the_folder(root: Path) -> Path:
    return root / REQUEST.key


def test_what_was_written_is_read_back(tmp_path):
    cache = open_(tmp_path)
    assert_complete(cache)
    assert not cache.reused
    assert cache.meta.n_patches == (1 + 2 + 3) * 6
    assert cache.meta.costs.wall_s > 0
    assert sorted(path.name for path in the_folder(tmp_path).iterdir()) == [
        "level0.bin",
        "level1.bin",
        "meta.json",
        "pixels.bin",
    ]


def test_a_complete_cache_is_not_written_again(tmp_path):
    open_(tmp_path)
    cache = open_(tmp_path, fill=fail)
    assert_complete(cache)
    assert cache.reused


def test_single_shots_and_rows(tmp_path):
    cache = open_(tmp_path)
    one = cache.batch(2, 1, 2)
    assert torch.equal(one.features[0], features("c", 3).features[0][1:2])
    assert one.crops == features("c", 3).crops[1:2]
    rows = cache.rows(np.array([0, 6 + 5, 35]))
    assert torch.equal(rows[0][1], features("b", 2).features[0][0, 1, 2])
    assert torch.equal(rows[2][2], features("c", 3).pixels[2, 1, 2])


def test_half_precision_rounds_to_the_nearest(tmp_path):
    cache = open_(tmp_path, replace(REQUEST, dtype="float16"))
    level = cache.batch(1).features[0]
    expected = features("b", 2).features[0]
    assert level.dtype == torch.float32
    assert torch.equal(level, expected.half().float())
    assert (level - expected).abs().max() <= 2**-12  # values are below 1


def test_every_number_of_half_precision_is_read_as_numpy_reads_it():
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)  # with subnormal, infinite and undefined ones
    read = opening._float32(every).numpy()
    assert np.array_equal(read, every.astype(np.float32), equal_nan=True)
    assert np.array_equal(np.signbit(read), np.signbit(every))


def test_what_is_read_may_be_written_to(tmp_path):
    cache = open_(tmp_path)
    cache.batch(0).features[0].zero_()
    assert_complete(open_(tmp_path, fill=fail))


def truncate(folder: Path) -> None:
    file = folder / "level1.bin"
    os.truncate(file, file.stat().st_size - 4)


def flip_a_bit(folder: Path) -> None:
    file = folder / "level0.bin"
    data = bytearray(file.read_bytes())
    data[17] ^= 1
    file.write_bytes(data)


def lengthen(folder: Path) -> None:
    with (folder / "pixels.bin").open("ab") as stream:
        stream.write(b"0")


def change(key: str, value: object):
    def damage(folder: Path) -> None:
        meta = json.loads((folder / "meta.json").read_text())
        meta[key] = value
        (folder / "meta.json").write_text(json.dumps(meta))

    damage.__name__ = f"change_{key}"
    return damage


@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        flip_a_bit,
        lengthen,
        lambda folder: (folder / "level0.bin").unlink(),
        lambda folder: (folder / "meta.json").unlink(),
        lambda folder: (folder / "meta.json").write_text("{"),
        lambda folder: (folder / "meta.json").write_bytes(b"\xff\xfe"),
        lambda folder: (folder / "meta.json").write_text("[]"),
        change("format_version", 2),
        change("material", {"backbone": "another"}),
        change("data_digest", "data-2"),
        change("files", {}),
        change("images", []),
        change("dtype", "float16"),
        change("channels", [5, 4]),
    ],
)
def test_torn_and_foreign_caches_are_rebuilt(tmp_path, damage):
    open_(tmp_path)
    damage(the_folder(tmp_path))
    cache = open_(tmp_path)
    assert not cache.reused
    assert_complete(cache)
    assert open_(tmp_path, fill=fail).reused


def test_other_images_or_another_state_of_the_data_are_foreign(tmp_path):
    open_(tmp_path)
    changed = replace(REQUEST, data_digest="data-2")
    assert not open_(tmp_path, changed).reused
    assert open_(tmp_path, changed, fill=fail).reused
    assert not open_(tmp_path).reused
    with pytest.raises(AssertionError, match="should have been read"):
        open_(tmp_path, replace(REQUEST, ids=("a", "c", "b")), fill=fail)


def test_settings_have_caches_of_their_own(tmp_path):
    other = replace(REQUEST, material={"backbone": "other"})
    open_(tmp_path)
    open_(tmp_path, other)
    assert other.key != REQUEST.key
    assert open_(tmp_path, fill=fail).reused
    assert open_(tmp_path, other, fill=fail).reused


def test_a_cache_that_cannot_hold_is_refused_before_it_is_begun(tmp_path):
    with pytest.raises(StoreError, match=r"would take 2 MB, more than the limit of 1 MB"):
        open_(tmp_path, fill=fail, planned=2 * 10**6)
    assert not the_folder(tmp_path).exists()


def test_a_complete_cache_is_read_whatever_the_limit(tmp_path):
    open_(tmp_path)
    assert open_(tmp_path, replace(REQUEST, limit=1), fill=fail, planned=100).reused


def test_a_cache_that_outgrows_its_limit_is_given_up(tmp_path):
    with pytest.raises(StoreError, match="more than the limit of 1 kB"):
        open_(tmp_path, replace(REQUEST, limit=1000), planned=100)
    assert not the_folder(tmp_path).exists()


class FullDisk:
    """A file on a disk that fills up after some bytes."""

    def __init__(self, stream, room: int) -> None:
        self.stream, self.room = stream, room

    def write(self, data: bytes) -> None:
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.stream.write(data)


@pytest.mark.parametrize("room", [0, 200, 1000])
def test_a_full_disk_leaves_no_half_cache(tmp_path, room):
    def fill_disk(writer: CacheWriter) -> None:
        writer._files[0] = FullDisk(writer._files[0], min(room, 500))  # type: ignore[call-overload]
        fill(writer)

    with pytest.raises(StoreError, match="no space left on the disk"):
        open_(tmp_path, fill=fill_disk)
    assert not the_folder(tmp_path).exists()
    assert_complete(open_(tmp_path))


def test_a_disk_that_fills_up_at_the_last_sync_leaves_no_half_cache(tmp_path, monkeypatch):
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(StoreError, match="no space left on the disk"):
            open_(tmp_path)
    assert not the_folder(tmp_path).exists()
    assert_complete(open_(tmp_path))


def test_a_folder_that_cannot_be_made_is_an_error_of_the_store(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        open_(tmp_path / "file" / "features")


@pytest.mark.parametrize("error", [RunInterrupted("stopped"), DataError("corrupt"), KeyboardInterrupt()])
def test_whatever_ends_the_writing_leaves_no_half_cache(tmp_path, error):
    def interrupted(writer: CacheWriter) -> None:
        writer.add("a", (40, 60), features("a"))
        raise error

    with pytest.raises(type(error)):
        open_(tmp_path, fill=interrupted)
    assert not the_folder(tmp_path).exists()
    assert_complete(open_(tmp_path))


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        (float("nan"), "float32", "image a: its features are not finite"),
        (1e5, "float16", r"beyond float16: set features\.dtype: float32"),
    ],
)
def test_numbers_that_cannot_be_kept_are_refused(tmp_path, value, dtype, message):
    def bad(writer: CacheWriter) -> None:
        batch = features("a")
        batch.features[1][0, 0, 0, 0] = value
        writer.add("a", (40, 60), batch)

    with pytest.raises(DataError, match=message):
        open_(tmp_path, replace(REQUEST, dtype=dtype), fill=bad)


def started(target, *args) -> multiprocessing.Process:
    process = FORK.Process(target=target, args=args)
    process.start()
    return process


def wait_for(condition, seconds: float = 300.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.01)


def write_counting(root: Path, log: Path) -> None:
    def slow(writer: CacheWriter) -> None:
        with log.open("a") as stream:
            stream.write("written\n")
        time.sleep(0.3)
        fill(writer)

    assert_complete(open_(root, fill=slow))


def test_one_process_writes_while_the_others_wait(tmp_path):
    root, log = tmp_path / "features", tmp_path / "log"
    processes = [started(write_counting, root, log) for _ in range(3)]
    for process in processes:
        process.join(300)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert log.read_text() == "written\n"
    assert_complete(open_(root, fill=fail))


def hang(root: Path, mark: Path, stage: str) -> None:
    """Write a cache and stop dead at a stage."""

    def stop(*args: object) -> None:
        mark.touch()
        time.sleep(600)

    def half(writer: CacheWriter) -> None:
        fill(writer)
        if stage == "rows":
            writer._files[0].flush()
            stop()

    if stage == "description":
        opening.write_bytes = stop
    open_(root, fill=half)


@pytest.mark.parametrize("stage", ["rows", "description"])
def test_after_sigkill_the_next_process_writes_anew(tmp_path, stage):
    root, mark = tmp_path / "features", tmp_path / "mark"
    process = started(hang, root, mark, stage)
    wait_for(mark.exists)
    (the_folder(root) / ".meta.json.x.tmp").write_text("left by a dead writer")
    os.kill(process.pid, signal.SIGKILL)
    process.join(300)
    assert the_folder(root).is_dir()
    assert not (the_folder(root) / "meta.json").exists()
    cache = open_(root)
    assert not cache.reused
    assert_complete(cache)
    assert not list(the_folder(root).glob(".*"))


def test_who_waits_for_a_writer_can_be_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "_POLL_S", 0.05)
    root, mark = tmp_path / "features", tmp_path / "mark"
    process = started(hang, root, mark, "rows")
    try:
        wait_for(mark.exists)
        with pytest.raises(RunInterrupted, match="another process"):
            open_(root, fill=fail, stop=lambda: True)
    finally:
        process.kill()
        process.join(300)


def test_a_rewrite_does_not_pull_the_rows_from_under_a_reader(tmp_path):
    reader = open_(tmp_path)
    open_(tmp_path, replace(REQUEST, data_digest="data-2"))
    assert_complete(reader)
