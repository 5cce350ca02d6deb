"""A loop of Accelerate's, with accumulated gradients, compared under two strategies and two schedules."""

import torch
from accelerate import Accelerator

import lr_search as lrs

x = torch.randn(1280, 20)
y = x @ torch.randn(20, 1) + 0.1 * torch.randn(1280, 1)
train_data, valid_x, valid_y = torch.utils.data.TensorDataset(x[:1024], y[:1024]), x[1024:], y[1024:]


@lrs.trainable(num_steps=128)  # 8 passes over 64 batches, 4 batches a step
def train(run):
    accelerator = Accelerator(gradient_accumulation_steps=4)
    model = torch.nn.Sequential(torch.nn.Linear(20, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))
    loader = torch.utils.data.DataLoader(train_data, batch_size=16, shuffle=True)
    model, optimizer, loader = accelerator.prepare(model, torch.optim.AdamW(model.parameters()), loader)
    scheduler = run.attach(optimizer)
    for inputs, targets in (batch for _ in range(8) for batch in loader):
        with accelerator.accumulate(model):
            loss = torch.nn.functional.mse_loss(model(inputs), targets)
            accelerator.backward(loss)
            optimizer.step(), run.loss(loss), scheduler.step(), optimizer.zero_grad()
        if run.due:
            loss = torch.nn.functional.mse_loss(model(valid_x.to(run.device)), valid_y.to(run.device))
            run.report(val_loss=loss.item())


print(lrs.compare(train, strategies=["random", "range_test"], schedules=["constant", "cosine"], budget=4, storage=None))
