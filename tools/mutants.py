"""Break the package in one place at a time, and name the faults that the tests don't find.

    python tools/mutants.py [--only NAME]

Each mutant runs in a fork of this process, which reads the changed source; nothing is written. `--only` takes those
whose file or tests contain NAME. Exit code 1 if one survives or no longer fits, or if tests fail without one.
"""

import argparse
import os
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# The file below python/dbpt, the text and its replacement, and the tests that should find it (without test_ and .py).
MUTANTS = [
    ("commands/audit/gate.py", '"lower-bound": "upper-bound"', '"lower-bound": "lower-bound"', "commands/audit/gate"),
    ("evaluation/intervals.py", "((TAIL / num_groups, -1), (TAIL, 1))", "((0.5, -1), (0.5, 1))", "commands/audit/gate"),
    ("runs/exports.py", ".logsumexp(dim=2)", ".mean(dim=2)", "runs/torch_classifier"),
    ("runs/pretrained.py", "PurePath(value).is_absolute()", "False", "runs/pretrained"),
    ("clip/preprocessing.py", ".div_(255)", ".div_(256)", "clip/preprocessing"),
    ("clip/backbone.py", "np.float32(backbone.logit_bias or 0.0)", "np.float32(0)", "clip/backbone"),
    ("clip/backbone.py", "logits_nK *= np.float32(backbone.logit_scale)", "pass", "clip/zero_shot"),
    ("evaluation/wrong_labels.py", "intercepts -= np.log(np.maximum(counts, 1))", "pass", "evaluation/wrong_labels"),
    ("evaluation/wrong_labels.py", "likely[own] = likely_own", "pass", "evaluation/wrong_labels"),
    ("evaluation/wrong_labels.py", "(slopes - expected, intercepts", "(slopes, intercepts", "evaluation/wrong_labels"),
    (
        "evaluation/wrong_labels.py",
        "LARGEST_SHARE * (common + deviations).sigmoid()[attributes]",
        "LARGEST_SHARE * common.sigmoid()",
        "evaluation/wrong_labels",
    ),
    ("commands/fit/saved_candidate.py", "if lead > limit and", "if lead > 0 and", "commands/choice"),
    ("commands/fit/saved_candidate.py", "if fewest < SMALL_GROUP", "if members.sum() < SMALL_GROUP", "commands/choice"),
    ("commands/fit/saved_candidate.py", "np.nanargmin(means[hedge])", "np.nanargmax(means[hedge])", "commands/choice"),
    ("commands/fit/saved_candidate.py", "max(deviation, SMALLEST_DEVIATION)", "deviation", "commands/choice"),
    ("commands/mixed_prompts.py", "(1 - alpha) * untrained", "alpha * untrained", "commands/group_prompts"),
    ("guesses/doubts.py", "rows = attributes == attribute", "rows = attributes >= 0", "guesses/class_words"),
    (
        "commands/trained_methods.py",
        "build_objective(study, objective, rows[0]",
        "build_objective(study, objective, rows[1]",
        "commands/group_prompts",
    ),
    (
        "commands/audit/suspicious.py",
        "if compares_attributes and grouping.has_words",
        "if False",
        "commands/audit/suspicious",
    ),
    ("commands/audit/suspicious.py", "weights_CAD[:, code]", "weights_CAD[:, 0]", "commands/audit/suspicious"),
    ("storage/row_files.py", "_identity(os.fstat(file.fileno())) != self._seen", "False", "storage/row_files"),
    ("data/stored_features.py", "out[order] = ordered", "out[:] = ordered", "storage/row_files"),
    ("training/gradients.py", "(len(own) / len(batch))", "1", "training/large_batches"),
    ("training/gradients.py", "own @ slopes[block]", "own.mean()", "training/large_batches"),
    ("objectives/base.py", "own.loss is not base.loss or", "False or", "training/large_batches"),
    ("commands/trained_methods.py", "or grouping.possible.all()", "or True", "commands/group_prompts"),
    ("commands/trained_methods.py", "if unhedged else", "if False else", "commands/group_prompts"),
    (
        "data/layouts/image_folder.py",
        "if name.lower() in SPLIT_FOLDERS",
        "if name in SPLIT_FOLDERS",
        "data/data_image_folder",
    ),
    ("data/labels_and_splits.py", "integer_of(value) == -1", "False", "data/data_faults"),
    ("data/labels_and_splits.py", "if len(classes) < 2:", "if len(classes) < 1:", "data/data_table"),
    ("heads/class_and_group_prompts.py", "owners += [group] *", "owners += [len(pairs)] *", "heads/prompts"),
    ("heads/class_and_group_prompts.py", "g // len(words.attributes)", "g % len(words.attributes)", "heads/prompts"),
    ("guesses/grouping.py", "possible_CA[:, :, None] & factor", "possible_CA[:, :, None] | factor", "guesses/grouping"),
    ("data/words.py", "len(factor.possible(name)) == 1", "len(factor.possible(name)) == 0", "data/factors"),
    ("features/cache.py", "follow=False) != entry.sha256:", "follow=False) is None:", "features/cache"),
    ("features/cache.py", "(*others, entry)", "(entry,)", "features/cache"),
    ("features/cache.py", "(stored[at] == ids).all(axis=1)", "stored[at, 0] == ids[:, 0]", "features/cache"),
    ("features/cache_keys.py", "_SIZE_AND_TIME.pack(size, mtime_ns)", 'b""', "features/cache"),
    ("commands/discover/discover.py", "return bool(both and", "return bool(True or", "commands/discover"),
    ("commands/discover/families.py", 'if "columns" in search:', "if False:", "commands/discovery_page"),
    ("commands/discover/families.py", 'if "pixels" in search and', "if False and", "commands/discovery_page"),
    (
        "study/column_attributes.py",
        "cells, dataset.rows_to_fit,",
        "cells, np.arange(len(dataset)),",
        "commands/coded_attributes",
    ),
    ("evaluation/family_ranking.py", "left.share * left.errors <", "left.share * left.errors >", "evaluation/ranking"),
    ("evaluation/family_ranking.py", "-score.separation, score.of.size", "score.of.size * -1", "evaluation/ranking"),
    ("evaluation/family_ranking.py", "share * found.errors / errors", "share", "evaluation/ranking"),
    ("features/images.py", "MAX_PIXELS = ", "MAX_PIXELS = 1000 * ", "features/images"),
    ("training/live_images.py", "if numbers[0] < 0.5:", "if numbers[0] > 0.5:", "training/live_features"),
    ("training/live_images.py", "math.sqrt(size / ratio)", "math.sqrt(size * ratio)", "training/live_features"),
    ("features/maintenance.py", "cache.written < oldest", "cache.written > oldest", "features/cache_maintenance"),
    ("features/maintenance.py", "if not lock.take():", "if lock.take() and False:", "features/cache_maintenance"),
    ("features/maintenance.py", "above.is_dir() and any(above.iterdir())", "True", "features/cache_maintenance"),
    ("features/maintenance.py", "if manifest is None:", "if False:", "features/cache_maintenance"),
    ("storage/files.py", "os.fsync(handle)", "pass", "storage"),
    ("storage/files.py", "if not overwrite:", "if False:", "storage"),
    ("storage/tensors.py", "if metadata.pop(DIGEST) != _digest(header, data):", "if False:", "storage"),
    ("evaluation/explained_by_attribute.py", "(rows - 1) * (columns - 1) / (n - 1)", "0", "evaluation/association"),
    (
        "groups/weights.py",
        "np.maximum(counts, max(self.min_group_count, 1e-10))",
        "counts",
        "groups/group_weight_bounds",
    ),
    ("groups/weights.py", "weights[free[above]] = self.max_weight", "pass", "groups/group_weight_bounds"),
    (
        "evaluation/intervals.py",
        "_upper_bound(k, n, TAIL / len(groups))",
        "_upper_bound(k, n, TAIL)",
        "evaluation/metrics",
    ),
    (
        "evaluation/intervals.py",
        "tail = TAIL / max(sum(n > 0 for _, n in groups), 1)",
        "tail = TAIL",
        "evaluation/association",
    ),
    ("groups/weight_updates.py", "mass = mass * ratio", "mass = 1 * mass", "groups/raking"),
    (
        "groups/weight_updates.py",
        "+ self._eta * (1 - means[seen])",
        "+ self._eta * means[seen]",
        "groups/group_weights",
    ),
    ("groups/weight_updates.py", "(1 - self._momentum) * (target", "self._momentum * (target", "groups/group_weights"),
    ("groups/weight_updates.py", "(members[filled] / expected)", "1.0", "groups/group_weights"),
    ("groups/weights.py", "self.move(means, members)", "return", "groups/group_weights"),
    ("groups/weights.py", "groups_B == -1, outside_B", "groups_B == -1, 0.0", "groups/group_weights"),
    (
        "guesses/linear_probe.py",
        "SCALE * (features - (features @ basis_CD.T) @ basis_CD)",
        "SCALE * features",
        "guesses/ppa",
    ),
    ("guesses/linear_probe.py", "= projected_ND[fitted]", "= projected_ND[: len(fitted)]", "guesses/ppa"),
    ("guesses/linear_probe.py", "projected_ND -= means_CD.mean(axis=0)", "pass", "guesses/ppa"),
    ("guesses/linear_probe.py", "+ biases_C + log_shares_C", "+ biases_C", "guesses/ppa"),
    ("guesses/linear_probe.py", ".argmax(axis=1) != labels", ".argmax(axis=1) == labels", "guesses/ppa"),
    ("heads/base.py", "RATIO * moved + (1 - RATIO) * features", "moved + features", "heads/feature_heads"),
    ("heads/tensors.py", '.T) + tensors["logit_bias"]', ".T)", "heads/feature_heads"),
    ("heads/tensors.py", "np.logaddexp.reduce(logits, axis=2)", "logits.mean(axis=2)", "commands/group_prompts"),
    ("heads/base.py", "features @ self.weights.T + self.bias", "features @ self.weights.T", "heads/feature_heads"),
    ("heads/prompt.py", "self.averaging_KP @ features_PD", "features_PD[: len(self.averaging_KP)]", "heads/heads"),
    ("heads/prompt.py", "repeat_interleave(self.copies, dim=0)", "repeat(self.copies, 1)", "heads/heads"),
    ("heads/prompt.py", "OFFSET_STEP / self.logit_scale", "OFFSET_STEP", "heads/heads"),
    (
        "commands/label/estimates.py",
        "(strata.sizes[:, None], shares)",
        "(1.0, shares)",
        "commands/label/label_estimates",
    ),
    ("commands/label/sample.py", "doubt * (1.0 - doubt)", "doubt", "commands/label/label_sample"),
    ("commands/label/sample.py", "len(members), seed, stratum)", "len(members), 0, 0)", "commands/label/label_sample"),
    ("objectives/base.py", ".logsumexp(dim=2)", ".mean(dim=2)", "objectives/gla"),
    (
        "objectives/base.py",
        ".where(groups[:, None] < 0, of_group)",
        ".where(groups[:, None] < -1, of_group)",
        "objectives/gla",
    ),
    ("objectives/base.py", "groups if self.by_group", "groups if True", "objectives/gla"),
    ("objectives/base.py", "((counts_CA == 0) &", "((counts_CA < 0) &", "objectives/gla"),
    ("objectives/weighting.py", "tau * np.log(", "-tau * np.log(", "objectives/gla"),
    ("objectives/weighting.py", "+ training.offsets", "", "objectives/gla"),
    ("objectives/weighting.py", "rows_C[:, None] * parts_CA", "len(training.labels) * parts_CA", "objectives/gla"),
    ("objectives/weighting.py", "counts_CA, kept_CA)", "counts_CA, 1)", "objectives/gla"),
    ("objectives/weighting.py", "max(min_group_count, 1.0)", "1.0", "objectives/gla"),
    ("objectives/jtt_afr_dfr.py", "np.exp(-gamma * p_true)", "np.exp(gamma * p_true)", "objectives/afr"),
    ("objectives/jtt_afr_dfr.py", "self.errors = ~correct", "self.errors = correct", "objectives/papers"),
    ("objectives/other_losses.py", "if along < 0:", "if along > 0:", "objectives/near_zero_shot"),
    ("objectives/other_losses.py", "index.counts[present].min()", "1", "objectives/data_balancing"),
    ("sampling/group_draws.py", "shares = self.counts * weights", "shares = weights", "sampling/sampling"),
    (
        "sampling/epoch_sampler.py",
        "self._read - operator.length_hint(self._chunk)",
        "self._read",
        "sampling/sampling_passes",
    ),
    ("sampling/epoch_sampler.py", "number % length, number % length + 1", "0, 1", "sampling/sampling_passes"),
    ("sampling/row_groups.py", "unknown * weights])", "unknown])", "sampling/sampling_unknown"),
    ("sampling/rank_draws.py", "-(-left //", "(left //", "sampling/sampling_passes"),
    ("sampling/rank_draws.py", "range(start + self.rank,", "range(start,", "sampling/sampling_passes"),
    ("settings/fields.py", "return types is bool", "return True", "settings/config"),
    ("study/stages.py", 'training = study.rows("train")', 'training = study.rows("val")', "guesses/ppa"),
    ("study/checks.py", "sentences_read |= any(", "sentences_read = any(", "commands/group_warnings"),
    ("guesses/grouping.py", "[_unworded(errors, (PPA", "[_unworded(1 - errors, (PPA", "guesses/ppa"),
    (
        "training/model_selection.py",
        "logits.masked_fill(torch",
        "logits.clone() if True else (torch",
        "training/model_selection",
    ),
    (
        "training/model_selection.py",
        "if not largest <= LARGEST_LOSS:",
        "if largest > LARGEST_LOSS:",
        "training/divergence",
    ),
    (
        "training/model_selection.py",
        "if last <= max(first * rise, guessing):",
        "if last <= guessing:",
        "training/findings",
    ),
    (
        "training/model_selection.py",
        "(counts @ group_weights) ** 2 /",
        "(counts @ group_weights) /",
        "training/findings",
    ),
    ("training/model_selection.py", "finite & (logits.argmax(dim=1) == labels_of_part)", "finite", "training/training"),
    ("training/model_selection.py", "PRIOR_ROWS * of_class", "PRIOR_ROWS * means", "training/model_selection"),
    ("training/model_selection.py", "return worst, figures.average", "return worst, 0.0", "training/model_selection"),
    ("training/model_selection.py", "torch.where(finite, of_labels, torch.nan)", "of_labels", "training/divergence"),
    ("training/loop.py", "return min(WARMUP_LR, lr)", "return lr", "training/schedule"),
    ("training/loop.py", "math.pi * (epoch - warmup_epochs)", "math.pi * epoch", "training/schedule"),
]


def ends(tests: str, file: str = "", old: str = "", new: str = "") -> int:
    """Return the exit code of the tests, with one text of a file below python/dbpt replaced by another."""
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    read, stats, path = SourceFileLoader.get_data, SourceFileLoader.path_stats, str(ROOT / "python/dbpt" / file)
    texts = {path: (old.encode(), new.encode(), 1)}
    SourceFileLoader.get_data = lambda self, name: read(self, name).replace(*texts.get(name, (b"", b"", 0)))
    # Another time than that of the compiled file, so that the source is read.
    SourceFileLoader.path_stats = lambda self, name: stats(self, name) | ({"mtime": 1} if name == path else {})
    sys.dont_write_bytecode = True
    at = ROOT / "tests" / tests
    files = str(at if at.is_dir() else at.with_name(f"test_{at.name}.py"))
    os._exit(pytest.main(["-x", "--assert=plain", "-p", "no:terminal", "-o", "addopts=-m 'not full'", files]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="")
    only = parser.parse_args().only
    chosen = [mutant for mutant in MUTANTS if only in mutant[0] or only in mutant[3]]
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT / "python")}
    sys.path.insert(0, str(ROOT / "python"))  # else an editable install elsewhere would be broken in nothing
    for library in ("torch", "open_clip", "sklearn.linear_model", "matplotlib.figure"):
        __import__(library)
    failing = {tests for tests in {mutant[3] for mutant in chosen} if ends(tests)}
    lost = [f"fails without a mutant: {tests}" for tests in failing]
    for file, old, new, tests in chosen:
        if (ROOT / "python/dbpt" / file).read_text().count(old) < 1:
            lost.append(f"no longer fits: {file}: {old}")
        elif tests not in failing and ends(tests, file, old, new) == 0:
            lost.append(f"survives {tests}: {file}: {old} -> {new}")
        print(f"{file}: {old[:60]}", flush=True)
    print("\n".join([*lost, f"{len(chosen)} mutants, {len(lost)} problems"]))
    return bool(lost)


if __name__ == "__main__":
    sys.exit(main())
