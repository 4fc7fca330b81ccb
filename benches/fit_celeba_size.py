"""Time and memory of `dbpt compare` on features of CelebA's size, 202,599 rows, without images.

Features that are text directions plus noise, in CelebA's splits and groups, from a file given by ``--embeddings``; the
backbones have random weights. For each backbone and head, `dbpt compare celeba` trains ``dbpt`` on two draws, for one
epoch and for more; the difference is the time of the other epochs. Run by hand:

    python benches/fit_celeba_size.py [MODEL ...] [--heads prompt linear] [--epochs 11] [OPTION OF dbpt compare ...]
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import open_clip
import torch
from fit_waterbirds_size import status
from safetensors.torch import save_file

from dbpt import load_backbone
from dbpt.clip.backbone import zero_shot_weights
from dbpt.data.layouts.celeba import PUBLISHED, WORDS

MODELS = ["ViT-B-32-quickgelu", "ViT-L-14-quickgelu"]


def write_model(folder: Path, name: str) -> list[str]:
    """Write the config and random weights; return the options that name them."""
    config, weights = folder / f"{name}.json", folder / f"{name}.safetensors"
    config.write_text(json.dumps(open_clip.get_model_config(name)))
    model = load_backbone(str(config), "random", image_precision="float32").model
    save_file({key: tensor.contiguous() for key, tensor in model.state_dict().items()}, weights)
    return ["--model", str(config), "--pretrained", str(weights)]


def write_lists(root: Path) -> np.ndarray:
    """Write CelebA's two lists; return (N, 2) hair and sex."""
    rows = [
        (label, attribute, split)
        for split, counts in enumerate(PUBLISHED)
        for (label, attribute), count in zip(((0, 0), (0, 1), (1, 0), (1, 1)), counts, strict=True)
        for _ in range(count)
    ]
    (root / "img_align_celeba").mkdir(parents=True)
    attributes = "".join(f"{i:06d}.jpg {2 * y - 1} {2 * a - 1}\n" for i, (y, a, _) in enumerate(rows, 1))
    (root / "list_attr_celeba.txt").write_text(f"{len(rows)}\nBlond_Hair Male\n{attributes}")
    (root / "list_eval_partition.txt").write_text("".join(f"{i:06d}.jpg {row[2]}\n" for i, row in enumerate(rows, 1)))
    return np.array(rows)[:, :2]


def write_features(path: Path, model: list[str], codes: np.ndarray) -> int:
    """Write features (N, D) near the texts of their class and attribute; return D."""
    backbone, random = load_backbone(model[1], model[3]), np.random.default_rng(0)
    features = random.standard_normal((len(codes), backbone.embed_dim), dtype=np.float32) / 20
    for column, texts in enumerate((WORDS.class_texts(), WORDS.attribute_texts())):
        directions = zero_shot_weights(backbone, *texts)
        features += 3 * (directions - directions.mean(axis=0))[codes[:, column]]
    np.save(path, features)
    return backbone.embed_dim


def run(command: list[str]) -> tuple[float, float, float]:
    """Run a command; return its seconds, those of processors, and its peak memory in MB."""
    begun, before, peak = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN), 0.0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak = max(peak, status(process.pid, "VmHWM"))
            time.sleep(0.05)
    if process.returncode:
        sys.exit(f"{command}\nended with {process.returncode}")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    processors = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - begun, processors, peak


def main() -> None:
    """Print a line for each backbone and head."""
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--heads", nargs="+", default=["linear", "prompt"])
    parser.add_argument("--epochs", type=int, default=11)
    given, options = parser.parse_known_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        codes = write_lists(folder / "celeba")
        for model_name in given.models:
            model, features = write_model(folder, model_name), folder / "features.npy"
            width = write_features(features, model, codes)
            compare = [sys.executable, "-m", "dbpt", "compare", "celeba", "--root", str(folder / "celeba"), *model]
            compare += ["--embeddings", str(features), "--device", "cpu", "--cache", str(folder / "cache")]
            compare += ["--methods", "dbpt", "--resample", "2", "--out", str(folder / "run"), "--overwrite", *options]
            for head in given.heads:
                runs = [run([*compare, "--heads", head, "--epochs", str(n)]) for n in (1, given.epochs)]
                epochs = 2 * (given.epochs - 1)
                epoch = [(more - one) / epochs for one, more in zip(runs[0][:2], runs[1][:2], strict=True)]
                print(
                    f"{model_name}, {len(codes)} x {width}, {head}: one epoch of both draws {runs[0][0]:.0f} s, "
                    f"{runs[0][1]:.0f} s of processors; each further epoch {epoch[0]:.2f} s, {epoch[1]:.2f} s of "
                    f"processors; peak {runs[1][2]:.0f} MB; load {os.getloadavg()[0]:.1f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
