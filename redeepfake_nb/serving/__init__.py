"""Serve the panels as a page to a browser, on this machine or to others: ``redeepfake-nb app``.

Each visitor has a kernel and a folder of their own, which end with the visit. Only this
sub-package uses Voilà.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
