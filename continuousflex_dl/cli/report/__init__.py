"""The HTML report of a conformational space: one file that needs nothing else."""

from .content import ReportContent
from .page import write_report

__all__ = ["ReportContent", "write_report"]
