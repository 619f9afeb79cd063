"""Runs the suite of the plugin, as ``scipion test`` does, under pytest."""

import pytest

from continuousflex_dl.tests.test_deep_workflow import TestDeepWorkflow  # noqa: F401  (pytest collects the classes)
from continuousflex_dl.tests.test_map_workflow import TestMapWorkflow  # noqa: F401
from continuousflex_dl.tests.test_vit_workflow import TestCryoViTWorkflow  # noqa: F401
from continuousflex_dl.tests.test_workflow import TestWorkflow  # noqa: F401

pytestmark = pytest.mark.slow
