"""Inspectors: notebook panels over the other sub-packages' functions. Only this sub-package uses ipywidgets.

An inspector's methods do the work and return values, its controls call the methods, and its ``.widget`` is
shown in a notebook.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
