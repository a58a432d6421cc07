"""TensorFlow and Keras, imported once and quietly; every other module of the engine imports them from here."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

from stylefleet.errors import SettingsInvalid

# All are read at import. 2 leaves out what TensorFlow says about absent GPU libraries; errors remain.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# TensorFlow turns oneDNN on by itself only where the CPU has AVX-512 VNNI or better; see convolution.py.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# A ~/.keras/keras.json could change number formats and the order of axes, and Keras makes one where there is none.
# In a folder that is none, nothing is read or written.
os.environ["KERAS_HOME"] = os.devnull

_CHATTER = ("oneDNN custom operations are on", "All log messages before absl::InitializeLog()")
"""What TensorFlow 2.21 writes to stderr at import whatever the log level is."""


@contextlib.contextmanager
def _without_chatter() -> Iterator[None]:
    """Holds back what native code writes to stderr, and lets through afterwards all but the known chatter."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile("w+b") as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            for line in held.read().decode(errors="replace").splitlines():
                if not any(known in line for known in _CHATTER):
                    os.write(2, f"{line}\n".encode())


with _without_chatter():
    import keras
    import tensorflow as tf

if keras.backend.backend() != "tensorflow":
    raise SettingsInvalid(
        f"The engine needs the TensorFlow backend of Keras, found {keras.backend.backend()!r}: "
        "unset KERAS_BACKEND, or set it to 'tensorflow'."
    )

__all__ = ["keras", "tf"]
