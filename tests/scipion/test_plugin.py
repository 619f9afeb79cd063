"""Scipion finds everything: plugin, protocols, tree, citations, logo, templates, wizards, viewers."""

import configparser
import json
import re
from pathlib import Path

import pwem
import pytest
from pyworkflow import Config

import continuousflex_dl
from continuousflex_dl import bibtex, protocols, viewers, wizards

PACKAGE = Path(continuousflex_dl.__file__).parent
NAMES = list(protocols.__all__)


def views():
    parser = configparser.ConfigParser()
    parser.optionxform = str
    parser.read(PACKAGE / "protocols.conf")
    return {name: json.loads(text) for name, text in parser["PROTOCOLS"].items()}


def leaves(nodes):
    for node in nodes:
        if node["tag"] == "protocol":
            yield node["value"]
        yield from leaves(node.get("children", []))


def test_plugin_is_found_by_its_entry_point():
    module = pwem.Domain.getPlugins()["continuousflex_dl"]
    assert module is continuousflex_dl
    assert module._pluginInstance.getName() == "continuousflex_dl"
    assert continuousflex_dl.Plugin.validateInstallation() == []
    assert (PACKAGE / continuousflex_dl._logo).read_bytes()[:4] == b"\x89PNG"


def test_protocols_are_registered_under_their_names():
    known = pwem.Domain.getProtocols()
    for name in NAMES:
        assert known[name] is getattr(protocols, name)
        assert known[name].getClassPackageName() == "continuousflex_dl"


def test_protocols_conf_names_classes_that_exist():
    known = pwem.Domain.getProtocols()
    for view, nodes in views().items():
        for name in leaves(nodes):
            assert name in known, f"{view}: {name}"


def test_protocols_conf_is_one_file_with_both_views():
    assert (PACKAGE / "protocols.conf").read_bytes() == (PACKAGE.parent / "protocols.conf").read_bytes()
    found = views()
    assert set(NAMES) <= set(leaves(found["Continuous flexibility DL"]))
    assert set(NAMES) <= set(leaves(found["Protocols SPA"]))


def test_tree_loads():
    from pyworkflow.gui.project.viewprotocols_extra import ProtocolTreeConfig

    tree = ProtocolTreeConfig.load(pwem.Domain, Config.SCIPION_PROTOCOLS)
    assert "Continuous flexibility DL" in tree
    text = []

    def walk(node):
        text.append(node.value)
        for child in node.childs:
            walk(child)

    walk(tree["Continuous flexibility DL"])
    assert set(NAMES) <= set(text)
    text.clear()
    walk(tree["Protocols SPA"])
    assert set(NAMES) <= set(text)


@pytest.mark.parametrize("name", NAMES)
def test_protocol_declares_what_scipion_shows(name):
    kind = getattr(protocols, name)
    protocol = kind()
    assert kind._label
    assert kind._possibleOutputs
    assert protocol._summary()
    assert protocol._methods() is not None
    keys = re.findall(r"@article\{(\w+),", bibtex.__doc__)
    assert set(protocol._citations()) <= set(keys)


def test_bibtex_is_read_by_pyworkflow():
    from pyworkflow.utils import LazyDict, parseBibTex  # noqa: F401

    found = parseBibTex(bibtex.__doc__)
    assert found["Jin2014"]["year"] == "2014"
    assert len(found) == len(re.findall("^@", bibtex.__doc__, re.M))


def test_viewers_and_wizards_have_targets():
    for name in viewers.__all__:
        assert getattr(viewers, name)._targets
    for name in wizards.__all__:
        for kind, names in getattr(wizards, name)._targets:
            for parameter in names:
                assert kind().getDefinition().hasParam(parameter)


@pytest.mark.parametrize("path", sorted((PACKAGE / "templates").glob("*.json.template")), ids=lambda path: path.name)
def test_templates_fit_the_forms(path):
    text = path.read_text()
    workflow = json.loads(text[text.index("[") :])
    known = pwem.Domain.getProtocols()
    identifiers = {entry["object.id"] for entry in workflow}
    for entry in workflow:
        definition = known[entry["object.className"]]().getDefinition()
        for name, value in entry.items():
            if name.startswith("object."):
                continue
            assert definition.hasParam(name) or name in ("numberOfThreads", "numberOfMpi", "useGpu", "gpuList"), name
            if isinstance(value, str) and re.fullmatch(r"\d+\.\w+", value):
                source, output = value.split(".")
                assert source in identifiers
                outputs = known[
                    next(e["object.className"] for e in workflow if e["object.id"] == source)
                ]._possibleOutputs
                names = outputs.keys() if isinstance(outputs, dict) else [member.name for member in outputs]
                assert output in list(names) or output == "outputPdb"
