"""A form and the flags of its command say the same."""

import shlex
import subprocess
import sys

import pytest
from pyworkflow.protocol import params

from continuousflex_dl.cli.parser import build_parser, values_of
from continuousflex_dl.options import COMMANDS, command
from continuousflex_dl.options.base import field_extra
from continuousflex_dl.protocols import (
    CflexProtAnimate,
    CflexProtDeepHEMNMAInfer,
    CflexProtDeepHEMNMATrain,
    CflexProtGroup,
    CflexProtHEMNMA,
    CflexProtNMA,
    CflexProtPseudoAtoms,
    CflexProtReconstruct,
    CflexProtSimulate,
    CflexProtSpace,
    forms,
)
from continuousflex_dl.protocols.command import program, quote_arguments

PROTOCOLS = [
    CflexProtNMA,
    CflexProtPseudoAtoms,
    CflexProtSimulate,
    CflexProtHEMNMA,
    CflexProtDeepHEMNMATrain,
    CflexProtDeepHEMNMAInfer,
    CflexProtSpace,
    CflexProtGroup,
    CflexProtReconstruct,
    CflexProtAnimate,
]
FILES = {
    "structure": "a.pdb",
    "map": "a.mrc",
    "modes": "m.npz",
    "particles": "p.star",
    "input": "p.star",
    "model": "m",
    "output": "out",
}


def make(kind, **values):
    protocol = kind()
    for name, value in values.items():
        getattr(protocol, name).set(value)
    return protocol


def required(kind):
    """Values for what has no default, so that a form can be valid."""
    return (
        {"numberOfParticles": 5}
        if kind is CflexProtSimulate
        else {"modeList": "7-9"}
        if kind is CflexProtHEMNMA
        else {}
    )


@pytest.mark.parametrize("kind", PROTOCOLS)
def test_every_option_is_in_the_form_or_comes_from_scipion(kind):
    protocol = kind()
    for name in kind.optionsClass().model_fields:
        shown = protocol.getDefinition().hasParam(forms.param_name(name))
        assert shown == (name in kind.formOptions()), name


@pytest.mark.parametrize("kind", PROTOCOLS)
def test_defaults_help_and_level_are_those_of_the_option(kind):
    protocol = kind()
    model = kind.optionsClass()
    for name in kind.formOptions():
        parameter = protocol.getParam(forms.param_name(name))
        field, extra = model.model_fields[name], field_extra(model, name)
        assert field.description in parameter.help.get(), name
        assert (parameter.expertLevel.get() == params.LEVEL_ADVANCED) == bool(extra.get("advanced")), name
        if extra.get("unit"):
            assert f"({extra['unit']})" in parameter.label.get(), name


@pytest.mark.parametrize("kind", PROTOCOLS)
def test_an_untouched_form_gives_the_defaults_of_the_command_line(kind):
    protocol = make(kind, **required(kind))
    options = protocol._options()
    assert options is not None, protocol._optionErrors()
    reference = kind.optionsClass().parse(
        {
            **protocol._placeholders(),
            **{
                n: v
                for n, v in forms.form_values(protocol, kind.optionsClass(), kind.formOptions()).items()
                if kind.optionsClass().model_fields[n].is_required()
            },
        }
    )
    for name in kind.formOptions():
        assert getattr(options, name) == getattr(reference, name), name


@pytest.mark.parametrize("kind", PROTOCOLS)
def test_arguments_of_a_form_are_parsed_to_the_same_options(kind):
    protocol = make(kind, **required(kind))
    model = kind.optionsClass()
    files = {name: FILES[name] for name, field in model.model_fields.items() if field.is_required() and name in FILES}
    values = {**protocol._formValues(), **files}
    arguments = [*kind.COMMAND.split(), *forms.arguments_of(model, values)]
    namespace = build_parser(COMMANDS).parse_args(arguments)
    assert model.parse(values_of(namespace, model)) == model.parse(values)


def test_values_that_a_shell_or_a_parser_could_misread():
    model = command("simulate").options
    values = {
        "modes": "a b'c.npz",
        "n_particles": 3,
        "defocus": -5000.0,
        "output": "x",
        "noiseless": True,
        "ctf_table": None,
    }
    arguments = forms.arguments_of(model, values)
    assert "--defocus=-5000.0" in arguments
    assert arguments[-1] == "a b'c.npz"
    assert shlex.split(quote_arguments(arguments)) == arguments
    namespace = build_parser(COMMANDS).parse_args(["simulate", *arguments])
    assert values_of(namespace, model)["defocus"] == "-5000.0"


def test_errors_speak_of_labels():
    protocol = make(CflexProtHEMNMA, modeList="7", angularStep=1.0)
    (error,) = protocol._optionErrors()
    assert error.startswith("'Angular step': ")
    assert "3" in error


def test_hidden_fields_do_not_count():
    protocol = make(CflexProtSimulate, numberOfParticles=5, noCtf=True, phaseFlip=True)
    assert protocol._optionErrors() == []
    assert "phase_flip" not in protocol._formValues()


def test_what_belongs_to_the_option_cannot_be_replaced():
    with pytest.raises(ValueError, match="come from the option class"):
        forms.add_options(None, command("nma").options, ["cutoff"], {"cutoff": {"default": 3.0}})


def test_program_survives_spaces_and_per_cent_signs(tmp_path):
    """What runJob does with program and arguments: %-formatting where a GPU is asked for, then a shell."""
    python = tmp_path / "a b%c" / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    arguments = ["100% of $HOME", "it's", "-x=a b", "50%%"]
    for gpu in (False, True):
        text = program(gpu=gpu, python=str(python))
        text = text.replace("-m continuousflex_dl", "-c 'import sys; print(sys.argv[1:])'")
        rest = quote_arguments(arguments, gpu=gpu)
        if gpu:
            text, rest = text % {"GPU": "0,1"}, rest % {"GPU": "0 1"}
            assert text.startswith("CUDA_VISIBLE_DEVICES=0,1 ")
        done = subprocess.run(f"{text} {rest}", shell=True, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == repr(arguments)


def test_scipions_placeholder_in_a_file_name_is_refused():
    with pytest.raises(ValueError, match="rename the file"):
        quote_arguments(["data/%(GPU)s.star"])


def test_gpu_is_checked_only_when_asked_for():
    protocol = make(CflexProtHEMNMA, modeList="7")
    assert protocol._gpuErrors() == []
    assert protocol._formValues()["device"] == "cpu"
    protocol.useGpu.set(True)
    assert protocol._formValues()["device"] == "cuda"
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        assert "No CUDA device" in protocol._gpuErrors()[0]
