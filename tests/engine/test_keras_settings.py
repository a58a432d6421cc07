"""What a user has set up for Keras is for the user's own work: nothing of it reaches a result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
from stylefleet.engine._tensorflow import keras
print(keras.backend.backend(), keras.config.floatx(), keras.config.image_data_format(), keras.config.epsilon())
"""


def settings_with(home: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_the_users_settings_of_keras_are_neither_read_nor_written(tmp_path: Path) -> None:
    theirs, nobodys = tmp_path / "theirs", tmp_path / "nobodys"
    (theirs / ".keras").mkdir(parents=True)
    nobodys.mkdir()
    settings = {"floatx": "float16", "epsilon": 0.1, "backend": "jax", "image_data_format": "channels_first"}
    (theirs / ".keras/keras.json").write_text(json.dumps(settings))

    assert settings_with(theirs) == settings_with(nobodys) == "tensorflow float32 channels_last 1e-07"
    assert list(nobodys.iterdir()) == []
