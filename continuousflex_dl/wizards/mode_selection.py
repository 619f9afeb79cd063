"""Choice of normal modes from a list that shows how collective they are."""

from __future__ import annotations

from pwem.wizards import EmWizard

from ..convert import ConversionError, describe_numbers, read_modes
from ..protocols import CflexProtFit, CflexProtHEMNMA, CflexProtSimulate

COLUMNS = (("Mode", 70), ("Collectivity", 110), ("Score", 90), ("Eigenvalue", 110), ("Recommended", 110))


def mode_rows(modes) -> list[tuple[int, tuple[str, ...]]]:
    """Number and shown texts of the non-rigid modes of a set."""

    def text(value):
        return "" if value is None else f"{value:.4g}"

    return [
        (
            mode.number,
            (text(mode.collectivity), text(mode.score), text(mode.eigenvalue), "yes" if mode.enabled else "no"),
        )
        for mode in read_modes(modes)
        if not mode.rigid
    ]


class CflexModesWizard(EmWizard):
    """Opens the list of modes and writes the chosen ones into the form."""

    _targets = [
        (CflexProtSimulate, ["modeList"]),
        (CflexProtHEMNMA, ["modeList"]),
        (CflexProtFit, ["modeList"]),
    ]

    def show(self, form, *params):
        from pyworkflow.gui import dialog

        modes = form.protocol.inputModes.get()
        if modes is None:
            dialog.showWarning("Normal modes", "Choose the set of normal modes first.", form.root)
            return
        try:
            rows = mode_rows(modes)
        except ConversionError as error:
            dialog.showError("Normal modes", str(error), form.root)
            return
        window = dialog.ListDialog(
            form.root,
            "Normal modes",
            _provider(rows),
            "Choose the modes (Ctrl and Shift select several).",
            selectmode="extended",
        )
        if window.resultYes() and window.values:
            form.setVar("modeList", describe_numbers(row.number for row in window.values))


def _provider(rows):
    """Tree provider of the dialog; made here because pyworkflow's GUI needs tkinter."""
    from pyworkflow.gui.tree import TreeProvider

    class Row:
        def __init__(self, number, texts):
            self.number, self.texts = number, texts

        def getObjId(self):
            return self.number

    class ModesProvider(TreeProvider):
        def __init__(self):
            TreeProvider.__init__(self)
            self._rows = [Row(*row) for row in rows]

        def getColumns(self):
            return list(COLUMNS)

        def getObjects(self):
            return self._rows

        def getObjectInfo(self, obj):
            return {"key": obj.number, "text": str(obj.number), "values": obj.texts, "open": False}

    return ModesProvider()
