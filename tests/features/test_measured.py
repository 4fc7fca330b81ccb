"""Measurements in the cache: what is decoded and when, interruptions, several processes, maintenance."""

import os
import shutil
import signal
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from launched import forking
from small_images import noise, write_images

import dbpt
from dbpt.clip import load_backbone
from dbpt.errors import InputError
from dbpt.features import EmbeddedFiles, Measurements, cache_files, images, measure_files, verify_cache
from dbpt.features import measurements as measuring
from dbpt.features.measurements import MeasurementCache

COUNT = 20
BROKEN, GONE = 7, 11


@pytest.fixture
def root(tmp_path) -> Path:
    (tmp_path / "data").mkdir()
    write_images(tmp_path / "data", COUNT)
    noise(30, 10).save(tmp_path / "data/images/3.png", "JPEG")
    (tmp_path / f"data/images/{BROKEN}.png").write_bytes(b"")
    (tmp_path / f"data/images/{GONE}.png").unlink()
    return tmp_path / "data"


@pytest.fixture
def decodes(monkeypatch) -> list:
    """The names of the files that are decoded."""
    names, real = [], images._open_with_stamp
    monkeypatch.setattr(images, "_open_with_stamp", lambda path: names.append(path.name) or real(path))
    return names


@pytest.fixture(autouse=True)
def small_shards(monkeypatch) -> None:
    monkeypatch.setattr(cache_files, "LEAST_SHARD_ROWS", 4)


def paths(count: int = COUNT) -> list[str]:
    return [f"images/{number}.png" for number in range(count)]


def cache_of(root: Path) -> Path:
    return root.parent / "cache/features"


def measure(root: Path):
    return measure_files(root, paths(), cache_dir=cache_of(root))


def embed(root: Path, *, measure: bool, count: int = COUNT, **tower) -> EmbeddedFiles:
    backbone = load_backbone(root / "tiny.json", "random", **tower)
    files = EmbeddedFiles(backbone, root, paths(count), cache_of(root), max_failures=0.5, measure=measure)
    files.complete(batch_size=4)
    return files


def stored(root: Path, folder: Path | None = None) -> dict[str, bytes]:
    """The bytes of the cache of measurements, or of another folder."""
    folder = folder or MeasurementCache(cache_of(root), root).folder
    return {file.name: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def assert_equal(*both: Measurements) -> None:
    np.testing.assert_equal(*(asdict(replace(one, decoded=0)) for one in both))


def test_rows_stay_in_place_and_unreadable_ones_have_no_values(root):
    found = measure(root)
    unread = [BROKEN, GONE]
    assert found.decoded == COUNT - 1
    for values in found.numbers.values():
        assert values.shape == (COUNT,) and values.dtype == np.float32 and np.isnan(values[unread]).all()
    assert found.numbers["width"][[0, 3, 19]].tolist() == [20, 30, 20]
    assert np.isfinite(found.numbers["jpeg_quality"]).nonzero()[0].tolist() == [3]
    kind = found.texts["format"]
    assert kind.values == ("JPEG", "PNG") and kind.codes[unread].tolist() == [-1, -1] and kind.codes[3] == 0
    assert found.texts["camera"].values == ("",)
    few = measure_files(root, ["images/3.png", "images/7.png", "images/3.png"], cache_dir=cache_of(root))
    np.testing.assert_equal((few.decoded, few.numbers["width"].tolist()), (0, [30, np.nan, 30]))
    assert measure_files(root, [f"images/{GONE}.png"], cache_dir=cache_of(root)).texts["mode"].codes.tolist() == [-1]


def test_a_second_run_decodes_nothing_and_a_changed_file_alone_is_measured_again(root, decodes):
    first = measure(root)
    decodes.clear()
    assert_equal(measure(root), first)
    assert decodes == []
    noise(50, 10, 99).save(root / "images/5.png")
    second = measure(root)
    assert decodes == ["5.png"] and second.numbers["width"][5] == 50


def test_the_pass_that_embeds_measures_too(root, decodes):
    embedded = embed(root, measure=True)
    assert sorted(decodes) == sorted(Path(path).name for row, path in enumerate(paths()) if row != GONE)
    decodes.clear()
    found = measure(root)
    assert decodes == [] and found.decoded == 0
    assert_equal(found, measure_files(root, paths(), cache_dir=root.parent / "alone"))
    without = EmbeddedFiles(embedded.backbone, root, paths(), root.parent / "without", max_failures=0.5)
    without.complete(batch_size=4)
    assert np.array_equal(embedded.features()[:], without.features()[:])


def test_an_old_cache_is_decoded_once_more_and_not_embedded_again(root, decodes):
    old = embed(root, measure=False)
    before = stored(root, old.cache.folder)
    decodes.clear()
    embed(root, measure=True)
    assert decodes == []
    assert measure(root).decoded == COUNT - 1 == len(decodes)
    assert stored(root, old.cache.folder) == before


def test_a_second_clip_measures_only_what_is_new(root, monkeypatch):
    embed(root, measure=True, count=12)
    before, calls = stored(root), []
    real = measuring.measure
    monkeypatch.setattr(measuring, "measure", lambda *given: calls.append(1) or real(*given))
    embed(root, measure=True, count=12, image_precision="bf16")
    assert stored(root) == before and not calls
    embed(root, measure=True, image_precision="bf16")
    assert len(calls) == COUNT - 12


def work(root: Path, embeds: bool, kill_at: int) -> None:
    """Measure, alone or while embedding; die before shard number ``kill_at`` is complete."""
    cache_files.LEAST_SHARD_ROWS = 4
    write, calls = measuring.FeatureCache.add, []

    def add(self, *given) -> None:
        calls.append(1)
        if len(calls) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        write(self, *given)

    measuring.FeatureCache.add = add
    embed(root, measure=True) if embeds else measure(root)


def cache_after(root: Path, embeds: bool) -> dict[str, bytes]:
    """Complete the cache in this process; return the bytes of the measurements."""
    embed(root, measure=True) if embeds else measure(root)
    assert measure(root).decoded == 0 and verify_cache(cache_of(root)) == []
    return stored(root)


def in_processes(root: Path, *embeds: bool, kill_at: int = 0) -> list[int | None]:
    processes = forking()
    started = [processes.Process(target=work, args=(root, each, kill_at)) for each in embeds]
    for process in started:
        process.start()
    for process in started:
        process.join(300)
    return [process.exitcode for process in started]


@pytest.mark.parametrize(("embeds", "kill_at"), [(False, 2), (True, 4)])
def test_killed_and_run_again_it_ends_with_the_same_bytes(root, embeds, kill_at):
    assert in_processes(root, embeds, kill_at=kill_at) == [-signal.SIGKILL]
    assert 0 < len(list(MeasurementCache(cache_of(root), root).folder.glob("*.safetensors"))) < 5
    ended = cache_after(root, embeds)
    shutil.rmtree(cache_of(root))
    assert cache_after(root, embeds) == ended


def test_processes_that_embed_or_only_measure_at_once_end_with_the_bytes_of_one(root):
    assert in_processes(root, True, False) == [0, 0]
    ended = stored(root)
    shutil.rmtree(cache_of(root))
    assert cache_after(root, embeds=False) == ended


def test_no_memory_is_no_property_of_the_image(root, monkeypatch):
    def fail(*given) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("dbpt.features.image_properties._sharpness", fail)
        assert np.isnan(measure(root).numbers["width"]).all()
    assert np.isfinite(measure(root).numbers["width"]).sum() == COUNT - 2


def test_commands_of_the_cache_know_the_measurements(command, root, tmp_path):
    embed(root, measure=False)
    measure(root)
    options = ["--cache", str(tmp_path / "cache")]
    folder = MeasurementCache(cache_of(root), root).folder
    _, listed, _ = command("cache", "list", *options)
    assert "measurements: width height" in listed and "images: 19 (1 failed)" in listed
    assert command("cache", "verify", *options)[0] == 0
    shard = next(folder.glob("*.safetensors"))
    content = bytearray(shard.read_bytes())
    content[-100] ^= 1
    shard.write_bytes(content)
    code, out, err = command("cache", "verify", *options)
    assert code != 0 and str(shard) in out + err and "measured again" in out + err
    with pytest.raises(InputError, match="damaged"):
        measure(root)
    shard.unlink()
    assert 0 < measure(root).decoded <= 4 and command("cache", "verify", *options)[0] == 0
    with pytest.raises(InputError, match="measurements"):
        dbpt.read_features(folder, [0])
    root.rename(tmp_path / "moved")
    assert str(folder) in command("cache", "prune", *options)[1] and not folder.exists()


def test_another_cache_that_a_message_names_is_one_of_features(command, root):
    measure(root)
    model = ["--model", root / "tiny.json", "--pretrained", "random", "--cache", root.parent / "cache"]
    _, _, err = command("embed", root / "list.csv", *model, "--max-failures", "0.5")
    assert "none in the cache; 19 images" in err
