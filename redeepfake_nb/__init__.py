"""Find faces in photos and videos, score them for manipulation, and show which places the scores rest on.

Public names are loaded on first use (PEP 562), so that importing the package costs next to nothing and loads
none of TensorFlow, matplotlib, ipywidgets and PyAV. They are listed in ``__init__.pyi``; each sub-package has
a list of its own.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]
