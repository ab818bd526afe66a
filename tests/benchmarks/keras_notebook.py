"""Times the notebook in Keras on TensorFlow; requires a virtual environment with TensorFlow."""

import os
import time
from pathlib import Path

import numpy as np
from contender import parse_arguments, peak_memory, print_result

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
from keras import layers

IMPORT_MEMORY = peak_memory()


def load(data_dir: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads images, scaled to [0, 1], and labels."""
    raw = data_dir / "MNIST" / "raw"
    images = np.fromfile(raw / f"{part}-images-idx3-ubyte", np.uint8, offset=16)
    labels = np.fromfile(raw / f"{part}-labels-idx1-ubyte", np.uint8, offset=8)
    return images.reshape(-1, 28, 28, 1).astype("float32") / 255, labels.astype("int64")


if __name__ == "__main__":
    options = parse_arguments()
    keras.utils.set_random_seed(options.seed)
    train, test = load(options.data_dir, "train"), load(options.data_dir, "t10k")
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(8, 5, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(16, 5, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    begin = time.perf_counter()
    model.fit(
        *train,
        batch_size=options.batch_size,
        epochs=options.epochs,
        validation_split=0.2,
        verbose=2,
    )
    seconds = time.perf_counter() - begin
    loss, accuracy = model.evaluate(*test, verbose=0)
    print_result(seconds, accuracy, IMPORT_MEMORY, loss)
