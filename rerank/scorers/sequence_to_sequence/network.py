"""Encoder and decoder of transformers, down to the vector of the first word."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class FirstWordVector(nn.Module):
    """What the decoder makes of a sequence before it writes anything."""

    def __init__(self, model: Any, start: int) -> None:
        """``start`` is the token that the decoder begins with."""
        super().__init__()
        self.encoder, self.decoder = model.encoder, model.decoder
        self.start = start

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor]:
        """Vectors of shape (sequences, hidden)."""
        read = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        begun = self.decoder(
            input_ids=torch.full_like(input_ids[:, :1], self.start),
            encoder_hidden_states=read,
            encoder_attention_mask=attention_mask,
            use_cache=False,
        )
        return (begun.last_hidden_state[:, 0],)
