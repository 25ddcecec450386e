"""Labelled faces, splits without leakage, augmentation, pseudo-fakes, and generated samples.

No photograph is stored here: samples are made from a public-domain portrait that scikit-image carries.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
