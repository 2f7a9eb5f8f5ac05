"""Reports: figures and tables of runs and of comparisons."""

from e2hil_rllib.report.run.run_report import ReportError, write_report

__all__ = ["ReportError", "write_report"]
