"""One picture or video becomes one report: faces, scores, heatmaps, and a verdict with its reasons.

The rules of the verdict are in :mod:`~redeepfake_nb.analysis.verdict`, how frame scores become one score in
:mod:`~redeepfake_nb.analysis.aggregation`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
