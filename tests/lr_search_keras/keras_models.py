"""A small model and its data, for the tests of both callbacks."""

import numpy as np

BATCH, EPOCHS = 20, 3
STEPS = 8 * EPOCHS


def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(160, 4)).astype("float32")
    return x, (x[:, 0] > 0).astype("float32")


def compiled(optimizer, dropout=0.2, seed=0, **settings):
    import keras

    if seed is not None:
        keras.utils.set_random_seed(seed)
    layers = [keras.layers.Dense(8, "tanh"), keras.layers.Dropout(dropout), keras.layers.Dense(1, "sigmoid")]
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile(optimizer=optimizer, loss="binary_crossentropy", **settings)
    return model


def fit(model, *callbacks, batch_size=BATCH, **settings):
    history = model.fit(
        *data(), batch_size=batch_size, epochs=EPOCHS, validation_data=data(), callbacks=list(callbacks), verbose=0, **settings
    )  # fmt: skip
    return history.history
