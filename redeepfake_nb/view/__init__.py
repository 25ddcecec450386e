"""Draw records with matplotlib; no other sub-package imports it.

Every plot takes a record and an optional ``ax``, and returns the Axes that it drew on:

* ``ax=None`` creates a figure with ``pyplot``, which a notebook shows below the cell. Close figures that are
  not shown: ``matplotlib.pyplot.close(ax.figure)``.
* ``Axes`` are drawn on as they are; plots with several panels need a figure and raise ValueError.
* A ``Figure`` or ``SubFigure`` is filled; a ``Figure`` is also resized. ``pyplot`` does not know it, so it
  needs no closing; :func:`to_png` works this way.

No plot calls ``show``, changes matplotlib's settings, or modifies its record. Colour never carries meaning
alone: labels also differ in line style or marker. The colours are those of Okabe and Ito ("Color Universal
Design", 2008), which people with colour vision deficiencies can tell apart.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
