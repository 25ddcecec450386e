"""A recipe and labelled faces become a model, its sidecar and its card.

Runs are reproducible from the recipe, resume after a stop, and are judged on people they have not seen.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
