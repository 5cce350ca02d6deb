"""A range test on a model and loop of your own: nothing but the learning rate changes hands."""

import torch

import lr_search as lrs

inputs = torch.randn(1024, 20)
targets = inputs @ torch.randn(20, 1) + 0.1 * torch.randn(1024, 1)
loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(inputs, targets), batch_size=32, shuffle=True)
model = torch.nn.Sequential(torch.nn.Linear(20, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

curve = lrs.range_test(model, optimizer, loader, lambda m, batch: torch.nn.functional.mse_loss(m(batch[0]), batch[1]))
suggestion = curve.suggest()
print(f"{suggestion.lr:.2g} ({suggestion.status}): {suggestion.reason}")

scheduler = lrs.schedules.by_name("sgdr", lr=suggestion.lr, num_steps=10 * len(loader)).attach(optimizer)
for _ in range(10):
    for x, y in loader:
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        scheduler.step()
print(f"loss after 10 epochs: {loss.item():.3g}")
