"""Labelled faces, splits that keep a person on one side, pseudo-fakes, and the samples that the project makes itself.

No file in here is anybody's photograph: samples come from a public-domain portrait that scikit-image carries.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
