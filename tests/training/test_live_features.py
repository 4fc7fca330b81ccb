"""Training on augmented images: the crops are torchvision's, and a function of seed, epoch and draw alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from runs import fit, history_of, result_bytes
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms import functional as T

from dbpt import InputError
from dbpt.commands.trained_methods import _live, trained_result, training_rows
from dbpt.objectives import OBJECTIVES
from dbpt.settings.config import FitConfig
from dbpt.study.stages import prepare
from dbpt.training.live_images import AREA, ASPECT, NUMBERS, crop_box, draw_numbers, live_images

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def live_experiment(tiny, **settings):
    return prepare(FitConfig(data=str(tiny.table), **tiny.settings, features="live", **settings))


def paths(tiny):
    return [row["path"] for row in tiny.rows()]


def test_the_crops_follow_the_law_of_torchvisions():
    ours = [crop_box(300, 200, draw_numbers(0, 0, draw)[1:]) for draw in range(4000)]
    torch.manual_seed(0)
    image = torch.zeros(3, 200, 300)
    theirs = [RandomResizedCrop.get_params(image, AREA, ASPECT) for _ in range(4000)]
    of_ours = np.array([(top, left, bottom - top, right - left) for left, top, right, bottom in ours])
    of_theirs = np.array(theirs)
    for column in (of_ours.T, of_theirs.T):
        assert column.min() >= 0
    for ours_sorted, theirs_sorted in zip(np.sort(of_ours, axis=0).T, np.sort(of_theirs, axis=0).T, strict=True):
        grid = np.arange(301)
        gap = np.searchsorted(ours_sorted, grid, "right") - np.searchsorted(theirs_sorted, grid, "right")
        assert np.abs(gap).max() / 4000 < 1.95 * (2 / 4000) ** 0.5  # Kolmogorov-Smirnov, p = 0.001


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1000, 10), (10, 1000), (7, 5)])
def test_a_crop_lies_in_the_image_whatever_its_shape(width, height):
    for draw in range(200):
        left, top, right, bottom = crop_box(width, height, draw_numbers(3, 1, draw)[1:])
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height


def test_draws_are_uniform_pinned_and_of_their_own():
    numbers = np.concatenate([draw_numbers(0, epoch, draw) for epoch in range(5) for draw in range(500)])
    assert len(np.unique(numbers)) == len(numbers) == 2500 * NUMBERS
    assert abs(numbers.mean() - 0.5) < 5 * (1 / 12 / len(numbers)) ** 0.5
    assert draw_numbers(1, 2, 3)[:2].tolist() == [0.360468362910245, 0.09025062835764619]
    assert draw_numbers(2**63 - 1, 0, 0).max() < 1


def test_pixels_are_torchvisions_crop_resize_and_flip(tiny, tiny_backbone):
    path = paths(tiny)[0]
    image = Image.open(tiny.table.parent / path).convert("RGB")
    with live_images(tiny_backbone, tiny.table.parent, [path], seed=0) as live:
        flipped = set()
        for draw in range(8):
            numbers = draw_numbers(0, 0, draw)
            left, top, right, bottom = crop_box(*image.size, numbers[1:])
            size = [bottom - top, right - left]
            expected = T.resized_crop(image, top, left, *size, [16, 16], InterpolationMode.BICUBIC)
            expected = T.hflip(expected) if numbers[0] < 0.5 else expected
            pixels = T.normalize(T.to_tensor(expected), MEAN, STD)
            np.testing.assert_array_equal(live._pixels(0, numbers), np.asarray(expected))
            found = live.features(np.array([0]), epoch=0, first_draw=draw)
            torch.testing.assert_close(found, tiny_backbone.encode_image(pixels[None]).clone(), rtol=0, atol=3e-6)
            flipped.add(bool(numbers[0] < 0.5))
    assert flipped == {True, False}


def test_features_depend_on_seed_epoch_and_draw_alone(tiny, tiny_backbone):
    rows = np.array([5, 0, 7, 5])

    def features(seed, epoch, first_draw, before=()):
        with live_images(tiny_backbone, tiny.table.parent, paths(tiny), seed=seed) as live:
            for number in before:
                live.features(rows, epoch=number, first_draw=0)
            return live.features(rows, epoch=epoch, first_draw=first_draw)

    first = features(0, 2, 16)
    assert torch.equal(features(0, 2, 16, before=(0, 1)), first)
    assert not torch.equal(first[0], first[3])  # the same image, another draw
    for other in (features(1, 2, 16), features(0, 3, 16), features(0, 2, 17)):
        assert not torch.equal(other, first)
    torch.testing.assert_close(first.norm(dim=1), torch.ones(4))


def test_a_large_batch_goes_through_the_image_tower_in_pieces(tiny, tiny_backbone, monkeypatch):
    monkeypatch.setattr("dbpt.training.live_images.IMAGES_A_PASS", 3)
    sizes, rows = [], np.arange(7)
    with live_images(tiny_backbone, tiny.table.parent, paths(tiny), seed=0) as live:
        alone = [live.features(rows[i : i + 3], epoch=1, first_draw=2 + i) for i in (0, 3, 6)]
        watch = tiny_backbone.model.visual.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
        together = live.features(rows, epoch=1, first_draw=2)
        watch.remove()
    assert sizes == [3, 3, 1]
    assert torch.equal(together, torch.cat(alone))


def test_a_live_run_trains_on_other_features_and_is_judged_on_the_same(tiny, tiny_run, tmp_path):
    run = fit(tiny, tmp_path / "run", features="live")
    assert result_bytes(run)["prompt"] != result_bytes(tiny_run)["prompt"]
    assert result_bytes(run)["pseudo_attributes"] == result_bytes(tiny_run)["pseudo_attributes"]
    zero_shot = [history_of(path)[0]["val_average"] for path in (run, tiny_run)]
    assert zero_shot[0] == pytest.approx(zero_shot[1], abs=0.2)  # after an epoch at 1e-5
    assert result_bytes(fit(tiny, tmp_path / "again", features="live")) == result_bytes(run)


def test_the_images_are_those_of_the_training_rows(tiny):
    experiment = live_experiment(tiny, head="linear", objective="erm")
    training, _ = training_rows(experiment, OBJECTIVES["erm"])
    with _live(experiment) as live:
        rows = [experiment.dataset.paths.index(path) for path in live.paths]
    assert {path.split("/")[0] for path in live.paths} == {"train"}
    np.testing.assert_array_equal(experiment.embedded.features[rows], training.features)
    assert trained_result(experiment, "erm", checkpoint_path=None).trained.history


def test_an_image_that_has_gone_is_named(tiny, tmp_path):
    experiment = live_experiment(tiny)
    elsewhere = replace(experiment.dataset, root=tmp_path)
    moved = replace(experiment, embedded=replace(experiment.embedded, dataset=elsewhere))
    with pytest.raises(InputError, match=r"\.png: could be read when training began, but not now \(No such file"):
        trained_result(moved, "dbpt", checkpoint_path=None)
