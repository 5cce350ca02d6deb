"""A Keras model on torch (KERAS_BACKEND=torch): a range test and a schedule within its fit, and a comparison."""

import keras
import numpy as np

import lr_search as lrs
from lr_search_keras import RangeTest, Schedule

rng = np.random.default_rng(0)
x = rng.normal(size=(1280, 20)).astype("float32")
y = (x @ rng.normal(size=(20, 3)) + 0.5 * rng.normal(size=(1280, 3))).argmax(1)
data = {"x": x[:1024], "y": y[:1024], "batch_size": 64}


def fit(*callbacks):
    layers = [keras.Input((20,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(3, "softmax")]
    model = keras.Sequential(layers)
    model.compile(optimizer=keras.optimizers.Adam(), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model.fit(**data, epochs=8, validation_data=(x[1024:], y[1024:]), callbacks=list(callbacks), verbose=0)


@lrs.trainable(num_steps=8 * 16, eval_every=16, objective="val_loss")
def train(run):
    fit(Schedule(run=run))


range_test = RangeTest(**data, schedule="cosine")
history = fit(range_test, Schedule("cosine")).history
print(range_test.curve, history["val_loss"][-1], sep="\n")
print(lrs.compare(train, strategies=["random", "range_test"], schedules=["constant", "cosine"], budget=4, storage=None))
