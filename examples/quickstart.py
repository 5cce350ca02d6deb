"""A range test on a model and loop of your own, in fifteen lines."""

import torch

import lr_search as lrs

x = torch.randn(1024, 20)
y = x @ torch.randn(20, 1) + 0.1 * torch.randn(1024, 1)
loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=32, shuffle=True)
model = torch.nn.Sequential(torch.nn.Linear(20, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

curve = lrs.range_test(
    model, optimizer, loader, lambda model, batch: torch.nn.functional.mse_loss(model(batch[0]), batch[1])
)
print(suggestion := curve.suggest())

optimizer.param_groups[0]["lr"] = suggestion.lr
for inputs, targets in [batch for _ in range(10) for batch in loader]:
    loss = torch.nn.functional.mse_loss(model(inputs), targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(f"loss of the last batch: {loss.item():.3g}")
