"""Face detection, landmarks, tracking, grouping of tracks by person, face crops and model input.

A :class:`Face` carries its frame, box and landmarks from detection to the plots; :func:`preprocess` converts
faces to the float32 batch that a model takes.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
