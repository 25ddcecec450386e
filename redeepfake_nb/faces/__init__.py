"""Frames in, faces out: detection, landmarks, tracks over time, persons, crops and model input.

A :class:`Face` carries its frame, its box and its landmarks to the last plot; :func:`preprocess` turns faces into
the one float32 batch that a model takes.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
