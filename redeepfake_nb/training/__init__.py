"""Train a classifier by a recipe on labelled faces, and export it with its sidecar and model card.

Runs are reproducible from the recipe, resume after an interruption, and are evaluated on people not in
training.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
