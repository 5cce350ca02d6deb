"""The last layers of a pretrained encoder with a new head, which read the states that the frozen layers made."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from . import data_minilm as data
from .sources import module

_HEADS, _INNER, _DROPPED = 12, 1536, 0.1


class EncoderLayer(nn.Module):
    """A layer of BERT with its pretrained weights: attention and a perceptron, each residual and followed by a norm."""

    def __init__(self, number: int) -> None:
        super().__init__()
        width = data.WIDTH
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.attended, self.attention_norm = nn.Linear(width, width), nn.LayerNorm(width, eps=1e-12)
        self.inward, self.outward = nn.Linear(width, _INNER), nn.Linear(_INNER, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.load_state_dict(data.weights(number))

    def forward(self, states: torch.Tensor, mask: torch.Tensor, *, only_first: bool = False) -> torch.Tensor:
        """(batch, time, width) and which tokens there are, (batch, 1, 1, time), to (batch, time or 1, width)."""
        asking = states[:, :1] if only_first else states
        mixed = functional.scaled_dot_product_attention(
            _by_head(self.query(asking)),
            _by_head(self.key(states)),
            _by_head(self.value(states)),
            attn_mask=mask,
            dropout_p=_DROPPED if self.training else 0.0,
        )
        attended = self._dropped(self.attended(mixed.transpose(1, 2).flatten(2)))
        asking = self.attention_norm(asking + attended)
        found: torch.Tensor = self.norm(asking + self._dropped(self.outward(functional.gelu(self.inward(asking)))))
        return found

    def _dropped(self, states: torch.Tensor) -> torch.Tensor:
        return functional.dropout(states, _DROPPED, self.training)


class LastLayers(nn.Module):
    """The layers from `first` on and a head on the first token's state, as BERT is fine-tuned; 2 logits.

    Of the last layer no more than that state is computed, the only one that the head reads.
    """

    def __init__(self, first: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(number) for number in range(first, data.LAYERS))
        self.head = nn.Sequential(nn.Dropout(_DROPPED), new_linear(data.WIDTH, 2))

    def forward(self, states: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """What layer `first` is given, (batch, time, width), and how many tokens each has, to (batch, 2)."""
        mask = (torch.arange(states.shape[1]) < lengths[:, None])[:, None, None]
        states = states.float()
        for place, layer in enumerate(self.layers):
            states = layer(states, mask, only_first=place == len(self.layers) - 1)
        logits: torch.Tensor = self.head(states[:, 0])
        return logits


def with_lora(model: LastLayers) -> LastLayers:
    """The model with adapters of rank 4 on queries and values; only they and the head are to be trained."""
    peft = module("peft")  # its types take mypy minutes
    config = peft.LoraConfig(r=4, lora_alpha=8, lora_dropout=0.05, target_modules=["query", "value"])
    peft.inject_adapter_in_model(config, model)
    model.head.requires_grad_()
    return model


def trained(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that are not frozen."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def decayed_matrices(model: nn.Module) -> list[dict[str, object]]:
    """Parameter groups: decay of 0.01 but for norms and biases."""
    parameters = trained(model)
    return [
        {"params": [each for each in parameters if each.ndim > 1], "weight_decay": 0.01},
        {"params": [each for each in parameters if each.ndim <= 1], "weight_decay": 0.0},
    ]


def new_linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer as BERT begins: deviation 0.02, no bias."""
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=0.02)
    nn.init.zeros_(layer.bias)
    return layer


def _by_head(states: torch.Tensor) -> torch.Tensor:  # (batch, time, width) -> (batch, heads, time, width / heads)
    return states.reshape(*states.shape[:2], _HEADS, -1).transpose(1, 2)
