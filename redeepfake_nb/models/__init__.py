"""A Keras model and its card become a :class:`Classifier` with one logit that means fake.

Here models are built, loaded from files that nobody has vouched for, converted from Keras 2, saved, and run.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
