"""The audits. Measuring changes no weight, buffer, mode or random stream."""

from unlearn_lib.metrics.scorecard import Outputs, Scorecard, evaluate

__all__ = ["Outputs", "Scorecard", "evaluate"]
