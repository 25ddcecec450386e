"""Labelled scores become metrics with intervals, thresholds, calibration, and robustness under change.

Intervals resample whole persons, since a model's mistakes come by person.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
