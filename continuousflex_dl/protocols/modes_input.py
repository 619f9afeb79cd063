"""The pair of parameters that protocols on normal modes share: the set of modes and the list of mode numbers."""

from __future__ import annotations

import pyworkflow.protocol.params as params

from ..convert import ConversionError, describe_numbers, mode_numbers, prepare_modes
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
                f"The set of normal modes has no mode {describe_numbers(missing)}; it has "
                f"{describe_numbers(available) or 'none that is not rigid'}"
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
