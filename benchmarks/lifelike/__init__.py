"""Trainings of 300 to 3,000 steps that are like what people train, on real data: to fit rules on some, to judge them on others.

To fit on:
    Fashion-MNIST: convolutions without and with BatchNorm, residual ones, very deep plain nets, label noise over many epochs,
        autoencoders, variational autoencoders, distillation, contrastive views, fine-tuning on other classes.
    Brown corpus: GPT-like and LSTM language models, taggers, fine-tuning on another kind of text.
    flights of 2013: tables with embeddings at several batch sizes.

To judge on:
    SpamAssassin: convolutions over words and over bytes, pooling by attention, perceptrons on word counts; with a pretrained
        MiniLM: its head, its last layer, LoRA, metric learning.
    Bach's chorales: dilated causal convolutions, encoder and decoder with attention, filling in masked notes, neural n-grams.
    aeon's series: N-BEATS, InceptionTime, patches with attention, diagonal state spaces, prototypes, random kernels.
    photographs: ViT, ConvNeXt-like, U-Net against noise, super-resolution, diffusion, SimSiam.
    MovieLens, diamonds, speech: two towers, factorisation machines, attention over columns, self-normalising nets, gates.

The split was drawn up by data and family before any curve was read: no data set and no family stands on both sides. The sets of
`tasks` (a, b, c and judge) are older, smaller, and mostly of made-up data.
"""

from __future__ import annotations

from . import (
    fit_brown,
    fit_fashion_classes,
    fit_fashion_objectives,
    fit_flights,
    judge_minilm,
    judge_music,
    judge_photos,
    judge_rdatasets,
    judge_series,
    judge_spam,
)
from .task import LifelikeTask

__all__ = ["TASKS", "LifelikeTask"]

TASKS: dict[str, LifelikeTask] = {
    task.name: task
    for module in (
        fit_fashion_classes,
        fit_fashion_objectives,
        fit_brown,
        fit_flights,
        judge_spam,
        judge_minilm,
        judge_rdatasets,
        judge_music,
        judge_series,
        judge_photos,
    )
    for task in module.TASKS
}
