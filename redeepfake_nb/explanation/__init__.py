"""Heatmaps of the evidence for a label, evidence by part of the face, and checks of the heatmaps themselves.

Every method explains the logit; :func:`faithfulness` measures how far a heatmap can be relied on.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
