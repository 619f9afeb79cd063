"""What holds for every option of every command, because form, flags and records are all made from the declarations."""

from importlib import import_module

import pytest
from pydantic_core import PydanticUndefined

from continuousflex_dl.options import COMMANDS, OptionError, command
from continuousflex_dl.options.base import CommonOptions, field_extra, flag_of

FIELDS = [(entry, name) for entry in COMMANDS for name in entry.options.model_fields]


def filled(model):
    """Something for every mandatory option: a text, a number or a list of modes, as typed."""
    return {name: "7" for name, field in model.model_fields.items() if field.is_required()}


REQUIRED = {entry.name: filled(entry.options) for entry in COMMANDS}


def names(field):
    return f"{field[0].name} {field[1]}"


@pytest.mark.parametrize(("entry", "name"), FIELDS, ids=[names(field) for field in FIELDS])
def test_option_is_described(entry, name):
    field = entry.options.model_fields[name]
    text = field.description
    assert text
    assert text == text.strip()
    assert text.rstrip().endswith((".", "]", ")"))
    assert "TODO" not in text
    if field.annotation is bool:
        assert field.default is False or field.default is True
    if field.default is PydanticUndefined:
        assert field.is_required()


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_physical_numbers_have_a_unit(entry):
    pure = {
        "n_modes", "n_particles", "n_components", "n_frames", "model", "mode", "axis", "threads", "seed", "hypotheses",
        "batch_size", "collectivity_threshold", "snr", "amplitude_contrast", "epochs", "learning_rate", "patience",
        "validation", "test", "latent_size", "vit_width", "beta",
    }  # fmt: skip
    for name, field in entry.options.model_fields.items():
        if field.annotation in (float, int, float | None, int | None) and name not in pure:
            assert field_extra(entry.options, name)["unit"], f"--{name} is a number without a unit"


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_defaults_fit_their_own_constraints(entry):
    options = entry.options.parse(REQUIRED[entry.name])
    assert entry.options.parse(options.model_dump(mode="json")) == options


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_every_command_is_complete(entry):
    assert entry.summary.endswith(".")
    assert issubclass(entry.options, CommonOptions)
    assert entry.options.__doc__
    module = import_module(f"continuousflex_dl.cli.{entry.module}")
    assert callable(getattr(module, "run_" + entry.name.replace(" ", "_"), None) or module.run)
    assert command(entry.name) is entry


def test_names_of_commands_are_unique():
    assert len({entry.name for entry in COMMANDS}) == len(COMMANDS)
    with pytest.raises(KeyError):
        command("dance")


def test_flags_are_unique_within_a_command():
    for entry in COMMANDS:
        flags = [flag_of(entry.options, name) for name in entry.options.model_fields]
        for name in entry.options.model_fields:
            flags += field_extra(entry.options, name)["flags"]
        assert len(set(flags)) == len(flags), entry.name


def test_options_do_not_change_after_they_are_made():
    options = command("nma").options.parse(REQUIRED["nma"])
    with pytest.raises(ValueError, match="frozen"):
        options.cutoff = 9.0


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_messages_are_one_line_and_name_the_flag(entry):
    model = entry.options
    with pytest.raises(OptionError) as missing:
        model.parse({})
    for name, field in model.model_fields.items():
        if field.is_required():
            assert f"{flag_of(model, name)} is needed" in str(missing.value)
    with pytest.raises(OptionError, match="dance: no such option"):
        model.parse({**REQUIRED[entry.name], "dance": "1"})
    with pytest.raises(OptionError) as several:
        model.parse({**REQUIRED[entry.name], "seed": "-1", "device": "tpu", "threads": "many"})
    text = str(several.value)
    assert "\n" not in text
    for flag in ("--seed", "--device", "--threads"):
        assert flag in text
    assert "'many'" in text, "what was found is shown"


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:0", "cuda:12"])
def test_devices(device):
    assert command("nma").options.parse({**REQUIRED["nma"], "device": device}).device == device


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "CPU", "cpu0", ""])
def test_what_is_no_device(device):
    with pytest.raises(OptionError, match="--device"):
        command("nma").options.parse({**REQUIRED["nma"], "device": device})


def test_laws_say_how_many_modes_they_need():
    model = command("simulate").options
    base = REQUIRED["simulate"]
    for law, use, good in (
        ("helix", "7,8,9", True), ("helix", "7,8", False), ("circle", "7,8", True), ("circle", "7,8,9", False),
        ("line", "7", True), ("uniform", "7-12", True), ("grid", "7", True), ("clusters", "7,8", True),
    ):  # fmt: skip
        values = {**base, "law": law, "use": use}
        if good:
            model.parse(values)
        else:
            with pytest.raises(OptionError, match=f"--law {law} needs exactly"):
                model.parse(values)
    model.parse({**base, "law": "helix", "use": "7", "ensemble": "path.pdb"})  # the law is not used


def test_defaults_of_the_interface():
    """What scripts rely on."""
    defaults = {
        "nma": {"n_modes": 20, "cutoff": 8.0, "cutoff_percentile": None, "block_size": 10, "representation": "all-atom",
                "collectivity_threshold": 0.15},
        "simulate": {"box": 128, "pixel_size": 1.0, "use": (7, 8, 9), "law": "helix", "amplitude": 200.0, "snr": 0.1,
                     "voltage": 200.0, "cs": 2.0, "amplitude_contrast": 0.1, "defocus": 5000.0, "shift_px": 5.0},
        "hemnma": {"angular_step": 15.0, "max_shift_px": None, "symmetry": "C1", "ctf": "auto", "initial_poses": False},
        "space": {"method": "pca", "n_components": 2},
    }  # fmt: skip
    for name, expected in defaults.items():
        options = command(name).options.parse(REQUIRED[name])
        assert {key: getattr(options, key) for key in expected} == expected
