"""Tests that run inside Scipion: ``python -m scipion test continuousflex_dl.tests.test_workflow``."""
