"""A loop of one's own, as nanoGPT has it, with accumulation and clipping: five lines of it are lr_search's (marked)."""

from pathlib import Path

import torch
from torch import nn

import lr_search as lrs


@lrs.trainable(num_steps=120, objective="val_loss")  # 1
def train(run):
    text = torch.tensor([ord(c) % 32 for c in Path(__file__).read_text()])
    model = nn.Sequential(nn.Embedding(32, 32), nn.Flatten(), nn.Linear(8 * 32, 64), nn.GELU(), nn.Linear(64, 32))
    matrices = [p for p in model.parameters() if p.ndim > 1]
    groups = [{"params": matrices}, {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1)
    scheduler = run.attach(optimizer)  # 2
    places = torch.arange(len(text) - 9)
    windows = text[places[:, None] + torch.arange(9)]
    held_out = windows[len(windows) * 4 // 5 :]
    for _ in range(run.num_steps):
        for _ in range(4):  # accumulated
            batch = windows[torch.randint(len(windows) * 4 // 5, (16,))]
            loss = nn.functional.cross_entropy(model(batch[:, :8]), batch[:, 8])
            (loss / 4).backward()
            run.loss(loss)  # 3
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        scheduler.step()  # 4
        run.report(val_loss=lambda: nn.functional.cross_entropy(model(held_out[:, :8]), held_out[:, 8]))  # 5


print(
    lrs.compare(
        train, strategies=["random", "range_test"], schedules=["constant", "cosine"], budget=4, seeds=2, today=3e-4
    )
)
