"""Build, load, convert, save and run models: a Keras model and its card become a :class:`Classifier`.

Model files from untrusted sources are checked before they are loaded (:mod:`.serialization`).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
