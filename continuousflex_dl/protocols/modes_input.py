"""The pair of parameters that protocols on normal modes share: the set of modes and the list of mode numbers."""

from __future__ import annotations

import pyworkflow.protocol.params as params

from ..convert import ConversionError, mode_numbers, prepare_modes
from ..options import OptionError
from ..options.base import parse_mode_list


class ModesInputMixin:
    """Form, validation and conversion of a pointer ``inputModes`` with the selection ``modeList``."""

    def _addModesParam(self, form, **settings):
        form.addParam(
            "inputModes",
            params.PointerParam,
            pointerClass="SetOfNormalModes",
            label="Normal modes",
            help="Normal modes of the reference structure, computed by this plugin or by any other.",
            **{"important": True, **settings},
        )

    def _modeErrors(self) -> list[str]:
        """Errors of the selection against what the set holds."""
        modes = self.inputModes.get()
        selection = (self.modeList.get() or "").strip()
        if modes is None or not selection:
            return []
        try:
            wanted = parse_mode_list(selection)
            available = mode_numbers(modes)
        except (ValueError, OptionError, ConversionError) as error:
            return [] if isinstance(error, ValueError) and not isinstance(error, ConversionError) else [str(error)]
        missing = [number for number in wanted if number not in available]
        errors = []
        if missing:
            errors.append(
                f"The set of normal modes has no mode {', '.join(map(str, missing))}; it has "
                f"{_ranges(available) or 'none that is not rigid'}"
            )
        if modes.getPdb() is None:
            errors.append("The set of normal modes does not say which structure it belongs to; compute the modes again")
        return errors

    def _modesFiles(self) -> dict[str, str]:
        """Options ``modes`` and, where needed, ``structure``."""
        prepared = prepare_modes(self.inputModes.get(), self._inputPath("modes"))
        files = {"modes": prepared.path}
        if prepared.structure is not None:
            files["structure"] = prepared.structure
        return files


def _ranges(numbers: list[int]) -> str:
    """``[7, 8, 9, 12]`` -> ``7-9, 12``."""
    pieces: list[list[int]] = []
    for number in sorted(numbers):
        if pieces and number == pieces[-1][-1] + 1:
            pieces[-1].append(number)
        else:
            pieces.append([number])
    return ", ".join(str(p[0]) if len(p) == 1 else f"{p[0]}-{p[-1]}" for p in pieces)
