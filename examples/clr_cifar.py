"""The CLR paper's CIFAR-10 experiment, and Adam on CIFAR-100: learning rates in use, against what a range test finds.

`cifar10` trains Caffe's cifar10_full under each policy of the paper's table 1, prints the test accuracy beside the paper's, and
searches with the same network. `cifar100` compares Adam at 1e-1, 1e-3, 3e-4 and 6.25e-5 with a search that costs as much.
Searches choose by a tenth of the training set, held out; their best two are trained again and judged on the test set.
The data come from the Hugging Face hub, or from FOLDER's train-*.parquet and test-*.parquet: pip install "lr-search[cifar]".

On a CPU this takes HOURS, even days. To see it work first, make it short: `cifar10 --steps 100 --batch-size 20 --budget 2` (every
length shrinks with --steps), `cifar100 --steps 50 --batch-size 10`. Killed, the same command goes on where it was.

The numbers are those of the paper's section 4.1.1 and of Caffe's cifar10_full_{solver,train_test}.prototxt. Where the paper says
nothing, `exp` starts at Caffe's base_lr and `exp_range` has section 3.3's bounds. Unlike Caffe, torch multiplies its momentum by
the present LR, and batches come in a new order each epoch.

Reference: Leslie N. Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, arXiv:1506.01186.
"""

import argparse
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

import lr_search as lrs
from lr_search.schedules import Constant, Exponential, ExpRange, Linear, Triangular2, join

HUB = {"cifar10": ("uoft-cs/cifar10", "label"), "cifar100": ("uoft-cs/cifar100", "fine_label")}


def read(dataset, folder=None):
    """The training and the test set, each as images (examples, 3, 32, 32) in uint8 and classes (examples,)."""
    try:
        import datasets
    except ImportError as error:
        raise SystemExit('clr_cifar.py needs Hugging Face datasets: pip install "lr-search[cifar]".') from error
    repository, label = HUB[dataset]
    if folder is None:
        splits = datasets.load_dataset(repository)
    else:
        files = {split: sorted(map(str, Path(folder).glob(f"{split}-*.parquet"))) for split in ("train", "test")}
        if not all(files.values()):
            raise SystemExit(f"--data must be a folder of train-*.parquet and test-*.parquet, but got {folder}.")
        splits = datasets.load_dataset("parquet", data_files=files)
    splits = splits.cast_column("img", datasets.Image())  # what parquet holds is {bytes, path}
    images = {split: np.stack([np.asarray(image) for image in splits[split]["img"]]) for split in ("train", "test")}
    return [(torch.tensor(x).movedim(3, 1), torch.tensor(splits[split][label])) for split, x in images.items()]


class Standardise(nn.Module):
    """(x - mean) / std of uint8 images; in the model, so that the data stay small."""

    def __init__(self, mean, std):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, x):
        """See the class."""
        return (x - self.mean) / self.std


class NormWithinChannel(nn.Module):
    """Caffe's LRN WITHIN_CHANNEL, which torch has not: local_size 3, alpha 5e-5, beta 0.75."""

    def forward(self, x):
        """See the class."""
        return x * (1 + 5e-5 * nn.functional.avg_pool2d(x**2, 3, stride=1, padding=1)) ** -0.75


def caffe_full(mean_image):
    """Caffe's cifar10_full, on 0 to 255 less the mean image; its pooling rounds sizes up."""
    layers = [nn.Conv2d(i, o, 5, padding=2) for i, o in ((3, 32), (32, 32), (32, 64))] + [nn.Linear(64 * 4 * 4, 10)]
    for layer, std in zip(layers, (1e-4, 1e-2, 1e-2, 1e-2), strict=True):
        nn.init.normal_(layer.weight, std=std)
        nn.init.zeros_(layer.bias)
    conv1, conv2, conv3, ip1 = layers
    return nn.Sequential(
        Standardise(mean_image, torch.tensor(1.0)),
        *(conv1, nn.MaxPool2d(3, 2, ceil_mode=True), nn.ReLU(), NormWithinChannel()),
        *(conv2, nn.ReLU(), nn.AvgPool2d(3, 2, ceil_mode=True), NormWithinChannel()),
        *(conv3, nn.ReLU(), nn.AvgPool2d(3, 2, ceil_mode=True), nn.Flatten(), ip1),
    )


def caffe_groups(model):
    """Caffe's lr_mult and decay_mult: three biases learn twice as fast, ip1's weights decay 250 times as much."""
    conv1, conv2, conv3, ip1 = (layer for layer in model if hasattr(layer, "weight"))
    return [
        {"lr": 1.0, "params": [conv1.weight, conv2.weight, conv3.weight, conv3.bias]},
        {"lr": 2.0, "params": [conv1.bias, conv2.bias]},
        {"lr": 1.0, "params": [ip1.weight], "weight_decay": 250 * 0.004},
        {"lr": 2.0, "params": [ip1.bias], "weight_decay": 0.0},
    ]


def seven_convolutions(mean, std):
    """VGG-16's first seven convolutions (Simonyan and Zisserman, 2014, arXiv:1409.1556), with He's initial weights."""

    def block(*channels):  # a convolution from each to the next, then images of half the size
        convolutions = [nn.Conv2d(i, o, 3, padding=1) for i, o in pairwise(channels)]
        for convolution in convolutions:
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        return [*(layer for convolution in convolutions for layer in (convolution, nn.ReLU())), nn.MaxPool2d(2)]

    layers = [*block(3, 64, 64), *block(64, 128, 128), *block(128, 256, 256, 256)]
    return nn.Sequential(Standardise(mean, std), *layers, nn.Flatten(), nn.Linear(256 * 4 * 4, 100))


def policies(scale=1.0):
    """The paper's table 1: policy -> (accuracy in %, steps, peak LR, peak LR -> schedule); `scale` shortens them all."""
    step_size, gamma = 2_000 * scale, 0.99994 ** (1 / scale)

    def steps(number):
        return round(number * scale)

    def fixed(lr):
        return join([Constant(lr), Constant(lr / 10), Constant(lr / 100)], [steps(60_000), steps(65_000)])

    def triangular2(lr):  # table 2: at two points the cycles begin anew, shorter, and both bounds at a tenth
        stages = [Triangular2(lr / d / 5, lr / d, step_size / n) for d, n in ((1, 1), (10, 2), (100, 4))]
        return join(stages, [steps(16_000), steps(22_000)])

    return {
        "fixed": (81.4, steps(70_000), 0.001, fixed),
        "triangular2": (81.4, steps(25_000), 0.005, triangular2),
        "decay": (78.5, steps(25_000), 0.007, lambda lr: Linear(lr, 2 * step_size, end_lr=lr / 7)),
        "exp": (79.1, steps(70_000), 0.001, lambda lr: Exponential(lr, gamma)),
        "exp_range": (82.2, steps(42_000), 0.006, lambda lr: ExpRange(lr / 6, lr, step_size, gamma, decay="bounds")),
    }


def table_1(make_workload, train, test, scale, **where):
    """As in the paper: trained on the whole training set and judged on the test set, for nothing is chosen by it."""
    rows = []
    for name, (paper, num_steps, lr, layout) in policies(scale).items():
        workload = make_workload(train=train, valid=test, num_steps=num_steps, eval_every=num_steps)
        policy = {"strategies": {"the paper's": lr}, "schedules": {name: layout}, "name": f"table 1, {name}"}
        trials = lrs.compare(workload, **policy, budget=1, **where).trials
        rows.append({"policy": name, "steps": num_steps, "paper": paper, "here": 100 * trials["objective"].mean()})
    return pd.DataFrame(rows)


def search(make_workload, train, test, steps, in_use, **options):
    """One training at each LR in use, and a search by range test, under each schedule."""
    cut = len(train[1]) * 9 // 10
    train, valid = [part[:cut] for part in train], [part[cut:] for part in train]
    workload = make_workload(train=train, valid=valid, test=test, num_steps=steps, eval_every=max(1, steps // 5))
    strategies, ramp = {**in_use, "range_test": "range_test"}, {"num_steps": min(100, max(20, steps // 10))}
    return lrs.compare(workload, strategies=strategies, range_test=ramp, confirm=1, name="search", **options)


def arguments():
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=sorted(HUB))
    parser.add_argument("--data", metavar="FOLDER", help="of parquet files; default: the Hugging Face hub")
    parser.add_argument("--steps", type=int, default=25_000, help="in a training of the search; default: %(default)s")
    parser.add_argument("--budget", type=float, default=4, help="of a search, in trainings; default: %(default)s")
    parser.add_argument("--seeds", type=int, default=1, help="how many; default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=100, help="images a step; default: the paper's %(default)s")
    parser.add_argument("--out", type=Path, default="clr_cifar", help="folder of what is found; default: %(default)s")
    return parser.parse_args()


def main():
    """See the top."""
    args = arguments()
    train, test = read(args.dataset, args.data)
    args.out.mkdir(parents=True, exist_ok=True)
    where = {"storage": f"sqlite:///{args.out}/{args.dataset}.db", "seeds": args.seeds}
    make_workload = partial(lrs.classification, batch_size=args.batch_size, objective="accuracy")
    if args.dataset == "cifar10":
        sgd = partial(torch.optim.SGD, momentum=0.9, weight_decay=0.004)
        model = partial(caffe_full, train[0].float().mean(0))
        make_workload = partial(make_workload, model=model, param_groups=caffe_groups, optimizer=sgd)
        table = table_1(make_workload, train, test, args.steps / 25_000, **where)
        table.to_csv(args.out / "table_1.csv", index=False)
        print(f"Test accuracy in %, the paper's and here:\n{table.round(1).to_string(index=False)}")
        in_use, schedules = (0.001, 0.006), ["constant", "triangular2", "exp_range"]
    else:
        std, mean = torch.std_mean(train[0].float(), dim=(0, 2, 3), keepdim=True)
        model = partial(seven_convolutions, mean[0], std[0])
        make_workload = partial(make_workload, model=model, optimizer=torch.optim.Adam)
        in_use, schedules = (1e-1, 1e-3, 3e-4, 6.25e-5), ["constant", "triangular2"]
    in_use = {f"{lr:g}": lr for lr in in_use}
    found = search(make_workload, train, test, args.steps, in_use, schedules=schedules, budget=args.budget, **where)
    print(found.summary(full=True).to_string(), found.recommend(), sep="\n")
    print(f"The report is in {found.save(args.out / args.dataset)}")


if __name__ == "__main__":
    main()
