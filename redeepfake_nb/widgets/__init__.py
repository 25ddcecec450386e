"""Panels for notebooks; no other sub-package knows ipywidgets.

Each inspector holds thin controls over the functions of the other sub-packages, and has ``.widget`` and its result.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
