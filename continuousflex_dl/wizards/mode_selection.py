"""Choice of normal modes from a list that shows how collective they are, and what images say of them."""

from __future__ import annotations

from pwem.wizards import EmWizard

from ..convert import ConversionError, describe_numbers, read_modes
from ..protocols import CflexProtFit, CflexProtHEMNMA, CflexProtRank, CflexProtSimulate

COLUMNS = (("Mode", 70), ("Collectivity", 110), ("Score", 90), ("Eigenvalue", 110), ("Recommended", 110))
RANKED_COLUMNS = (*COLUMNS, ("Evidence", 130), ("Overlap", 90))


def mode_rows(modes) -> list[tuple[int, tuple[str, ...]]]:
    """Number and shown texts of the non-rigid modes of a set; modes that were ranked come first, best first."""

    def text(value):
        return "" if value is None else f"{value:.4g}"

    listed = [mode for mode in read_modes(modes) if not mode.rigid]
    ranked = any(mode.gain is not None for mode in listed)
    if ranked:
        listed.sort(key=lambda mode: float("inf") if mode.gain is None else -mode.gain)
    rows = []
    for mode in listed:
        texts = (text(mode.collectivity), text(mode.score), text(mode.eigenvalue), "yes" if mode.enabled else "no")
        if ranked:
            evidence = "" if mode.gain is None else f"{mode.gain:.3g} +- {mode.gain_error:.2g}"
            texts += (evidence, text(mode.overlap))
        rows.append((mode.number, texts))
    return rows


def suggestion(modes) -> tuple[int, ...]:
    """Modes that the images ask for; none where the set was not ranked."""
    return tuple(mode.number for mode in read_modes(modes) if mode.gain is not None and mode.enabled)


class CflexModesWizard(EmWizard):
    """Opens the list of modes and writes the chosen ones into the form.

    Where the modes were ranked by images, the first line of the list is that choice.
    """

    _targets = [
        (CflexProtSimulate, ["modeList"]),
        (CflexProtHEMNMA, ["modeList"]),
        (CflexProtFit, ["modeList"]),
        (CflexProtRank, ["modeList"]),
    ]

    def show(self, form, *params):
        from pyworkflow.gui import dialog

        modes = form.protocol.inputModes.get()
        if modes is None:
            dialog.showWarning("Normal modes", "Choose the set of normal modes first.", form.root)
            return
        try:
            rows, suggested = mode_rows(modes), suggestion(modes)
        except ConversionError as error:
            dialog.showError("Normal modes", str(error), form.root)
            return
        window = dialog.ListDialog(
            form.root,
            "Normal modes",
            provider(rows, suggested),
            "Choose the modes (Ctrl and Shift select several).",
            selectmode="extended",
        )
        if window.resultYes() and window.values:
            form.setVar("modeList", describe_numbers(number for row in window.values for number in row.numbers))


def provider(rows, suggested=()):
    """Tree provider of the dialog; made here because pyworkflow's GUI needs tkinter."""
    from pyworkflow.gui.tree import TreeProvider

    class Row:
        def __init__(self, identifier, numbers, name, texts):
            self.identifier, self.numbers, self.name, self.texts = identifier, numbers, name, texts

        def getObjId(self):
            return self.identifier

    columns = RANKED_COLUMNS if rows and len(rows[0][1]) == len(RANKED_COLUMNS) - 1 else COLUMNS

    class ModesProvider(TreeProvider):
        def __init__(self):
            TreeProvider.__init__(self)
            self._rows = [Row(number, (number,), str(number), texts) for number, texts in rows]
            if suggested:
                texts = ("by the images", *[""] * (len(columns) - 2))
                self._rows.insert(0, Row(0, tuple(suggested), describe_numbers(suggested), texts))

        def getColumns(self):
            return list(columns)

        def getObjects(self):
            return self._rows

        def getObjectInfo(self, obj):
            return {"key": obj.identifier, "text": obj.name, "values": obj.texts, "open": False}

    return ModesProvider()
