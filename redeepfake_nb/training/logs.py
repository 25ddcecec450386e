"""Logs of a training run: history as CSV, scalars for TensorBoard, and a progress bar."""

from __future__ import annotations

import csv
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..utils.progress_bar import OutputBar
from ..utils.writing import atomic_file

_logger = logging.getLogger(__name__)


def write_history(path: Path, history: list[dict[str, Any]]) -> None:
    """Write one CSV line per evaluation, atomically. Missing columns of earlier lines stay empty."""
    columns = list(dict.fromkeys(name for line in history for name in line))
    with atomic_file(path) as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=columns)
        writer.writeheader()
        writer.writerows(history)


class ProgressBar(OutputBar):
    """A tqdm bar with the loss, for ``progress`` of :func:`redeepfake_nb.training.trainer.train`.

    To be used in a ``with`` statement. It writes to standard output, as notebooks show standard error like a
    failure.
    """

    def __init__(self, every: float = 1.0) -> None:
        super().__init__("step", every)

    def __call__(self, step: int, steps: int, loss: float) -> None:
        """Show that ``step`` of ``steps`` is done, with the recent loss unless it is NaN."""
        if not math.isnan(loss):
            self._bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
        self.show(step, steps)


class ScalarLog:
    """Scalars over steps, as TensorBoard event files written by TensorFlow; TensorBoard itself is not needed.

    Without TensorFlow (training with the JAX or PyTorch backend) no event file is written, and the first
    value logs one sentence that says so.

    Parameters
    ----------
    folder
        Created with the first value. Each process adds a file of its own. After a resumed run, steps between
        its checkpoint and the interruption occur in two files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._tensorflow: Any = None
        self._writer: Any = None
        self._unavailable = False

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Write values and flush, so that nothing is lost if the process is killed afterwards."""
        if not self._open():
            return
        tf = self._tensorflow
        # Plain Summary messages: tf.summary.scalar needs the package tensorboard.
        summary = tf.compat.v1.Summary(
            value=[tf.compat.v1.Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        )
        with tf.device("CPU:0"), self._writer.as_default():
            tf.summary.experimental.write_raw_pb(summary.SerializeToString(), step)
        self._writer.flush()

    def _open(self) -> bool:
        if self._writer is None and not self._unavailable:
            try:
                import tensorflow
            except ImportError as error:
                self._unavailable = True
                _logger.warning(
                    "TensorFlow cannot be imported (%s), so no TensorBoard event file is written.", error
                )
            else:
                self._tensorflow = tensorflow
                with tensorflow.device("CPU:0"):
                    self._writer = tensorflow.summary.create_file_writer(
                        str(self.folder), filename_suffix=".redeepfake_nb"
                    )
        return self._writer is not None
