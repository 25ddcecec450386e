"""``Drawings``: pictures of records that were drawn before, so that a page seen once is shown at once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

# Bytes of PNG that are kept; a page of one face takes about 0.5 MB.
_MAX_BYTES = 64_000_000
# Inches of the widest figure, which a panel in a window of 900 px with an open side bar shows with letters of
# 11 px or more, and pixels per inch, for screens of high resolution and for zooming.
_WIDTH, _DPI = 5.2, 180
# matplotlib draws in one thread at a time: its font cache is shared.
_drawing = threading.RLock()


class Drawings:
    """PNGs by plot, record and options; the ones used longest ago are forgotten first.

    Records are told apart by identity: they are frozen, and a changed one is another object. Where a change
    does not concern the picture, :meth:`draw` is told what does.

    Attributes
    ----------
    dark : bool
        Whether pictures are drawn for a dark page.
    """

    def __init__(self) -> None:
        self.dark = False
        self._kept: OrderedDict[Hashable, tuple[object, bytes]] = OrderedDict()

    def draw(
        self,
        plot: Callable[..., Any],
        record: object,
        *,
        parts: tuple[object, ...] = (),
        variant: Hashable = None,
        **options: Any,
    ) -> bytes:
        """Return the PNG of ``plot(record, **options)``, drawn unless it is known.

        Parameters
        ----------
        parts
            Those objects of the record that the picture shows. Default: the record.
        variant
            What else of the record changes the picture, compared by value.
        """
        parts = parts or (record,)
        if self.dark:
            options["dark"] = True
        key = (plot, *map(id, parts), variant, *sorted(options.items()))
        with _drawing:
            known = self._kept.pop(key, None)
            # The parts are kept too, so that no other object can get their identity.
            self._kept[key] = known or (parts, self._drawn(plot, record, options))
            while len(self._kept) > 1 and sum(len(png) for _, png in self._kept.values()) > _MAX_BYTES:
                self._kept.popitem(last=False)
            return self._kept[key][1]

    @staticmethod
    def _drawn(plot: Callable[..., Any], record: object, options: dict[str, Any]) -> bytes:
        from .. import view

        return view.to_png(plot, record, width=_WIDTH, dpi=_DPI, **options)

    def clear(self) -> None:
        """Forget all of them."""
        with _drawing:
            self._kept.clear()
