"""Evaluates classifiers on labelled faces: metrics with intervals, calibration, thresholds, robustness.

Intervals resample whole persons, because a model's errors are correlated within a person.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
