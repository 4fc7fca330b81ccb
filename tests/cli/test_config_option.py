"""``--config`` of the commands that train nothing: the settings of a run serve, and a wrong one is refused."""

import json

import pytest

import dbpt


@pytest.fixture
def config(tiny, tmp_path):
    """The settings of a run as a person writes them."""
    names = ("model", "pretrained", "cache", "attributes", "embed_batch_size", "epochs", "lr", "n_ctx")
    settings = {"data": str(tiny.table), "columns": ["attribute="], "recipe": "coop"}
    settings |= {name: tiny.settings[name] for name in names}
    path = tmp_path / "mine.toml"
    path.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items()))
    return path


def test_audit_reads_the_settings_of_a_run(tiny, tiny_run, command, config, tmp_path):
    read = ("model", "pretrained", "cache", "attributes", "embed_batch_size")
    settings = {name: tiny.settings[name] for name in read} | {"columns": ["attribute="]}
    assert command("audit", "--config", config, "--out", tmp_path / "one")[0] == 0
    first = json.loads((tmp_path / "one" / "audit.json").read_text())
    assert first["metrics"] == dbpt.audit(tiny.table, **settings).to_dict()["metrics"]
    assert command("audit", "--config", tiny_run / "config.toml", "--out", tmp_path / "two", "--split", "val")[0] == 0
    given = json.loads((tmp_path / "two" / "audit.json").read_text())
    assert (given["group_kind"], given["data"]["split"], given["settings"]["columns"]) == ("true", "val", "None")


def test_the_audit_of_a_run_takes_its_own_model_and_classes(tiny, tiny_run, command, config, tmp_path):
    assert command("audit", "--predictions", tiny_run, "--config", config, "--out", tmp_path / "one")[0] == 0
    found = json.loads((tmp_path / "one" / "audit.json").read_text())
    assert (found["predictions_by"], found["group_kind"]) == ("run", "pseudo")


def test_options_override_the_file_and_guess_reads_it_too(tiny, command, config, tmp_path):
    told = command("guess", "--config", config, "--attributes", "dark", "bright", "-v")
    assert told[0] == 0 and "dark" in told[1] and "meadow" not in told[1]
    assert "not read by this command: recipe, epochs, lr, n_ctx" in told[2]
    assert "not read" not in command("guess", "--config", config)[2]
    code, printed, _ = command("guess", "--config", config, "--factors", "style: dark, bright")
    assert code == 0 and "dark" in printed and "meadow" not in printed


def test_wrong_settings_are_refused_wherever_they_stand(tiny, command, config, refusal):
    text = config.read_text()
    config.write_text(text.replace("epochs", "epocs"))
    assert "mine.toml: unknown setting 'epocs' (did you mean 'epochs'?)" in refusal("audit", "--config", config)
    config.write_text(text.replace("epochs = 6", "epochs = 0"))
    assert "mine.toml: --epochs: must be" in refusal("guess", "--config", config)
    config.write_text(text + 'pseudo_attributes = "mine.csv"\n')
    assert "--pseudo-attributes: nothing is trained here, so it is not read" in refusal("guess", "--config", config)
