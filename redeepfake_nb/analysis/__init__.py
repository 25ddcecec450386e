"""Analyses an image or a video and reports faces, scores, heatmaps, and a verdict with its reasons.

The rules of the verdict are in :mod:`~redeepfake_nb.analysis.verdict`, the strategies that combine the scores
of frames in :mod:`~redeepfake_nb.analysis.aggregation`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
