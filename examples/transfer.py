"""The learning rate of a training of 5,000 steps for a quarter of one; then that training, and two beside it, to see."""

import torch
from torch import nn

import lr_search as lrs

torch.manual_seed(0)
teacher = nn.Sequential(nn.Linear(16, 64), nn.Tanh(), nn.Linear(64, 1))
x = torch.randn(40_000, 16)
pairs = torch.utils.data.TensorDataset(x, teacher(5 * x).detach())
workload = lrs.regression(
    model=lambda: nn.Sequential(nn.Linear(16, 128), nn.ReLU(), nn.Linear(128, 1)), optimizer=torch.optim.AdamW,
    train=pairs[:-1000], valid=pairs[-1000:], batch_size=64, num_steps=5000, eval_every=1000, device="cpu",
)  # fmt: skip

print(found := lrs.transfer(workload, schedule="cosine", cost=0.25))
for lr in (found.lr / 10, found.lr, found.lr * 10):
    *_, last = lrs.train(workload, lrs.schedules.by_name("cosine", lr, workload.num_steps))
    print(f"LR {lr:.2g}: loss {last.metrics['loss']:.4f} after {last.step:,} steps")
