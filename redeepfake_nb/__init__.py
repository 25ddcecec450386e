"""Finds faces in photos and videos, scores them for manipulation, and shows where the evidence lies.

Names are looked up on first use (PEP 562), so that importing the package costs next to nothing and loads none of
TensorFlow, matplotlib, ipywidgets and PyAV. They are listed in ``__init__.pyi``, beside each sub-package's own.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]
