"""A record becomes matplotlib Axes; no other sub-package knows matplotlib.

Every plot takes a record and ``ax``, which is None for a new figure, and returns the Axes it drew on. Nothing is
shown or saved here.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
