"""Encoders of single cells: numbers and categories."""

import numpy as np
import torch

from automm.encoders.embedding import Embedding
from automm.encoders.periodic import Periodic
from automm.types import FieldSpec


def test_periodic_is_sines_and_cosines_of_both_channels_beside_a_linear_layer():
    torch.manual_seed(0)
    field = FieldSpec("age", "numeric")
    preprocess = Periodic.fit_preprocess(field, [1.0, 5.0, 9.0, 30.0])
    encoder = Periodic(field, preprocess, width=8, frequencies=3, sigma=1.0)
    x = torch.from_numpy(preprocess([2.0, 20.0])["values"])
    waves = []
    frequencies_CK = encoder.frequencies_CK.detach()
    for row in x:
        for channel in range(2):
            angles = 2 * np.pi * frequencies_CK[channel] * row[channel]
            waves += [*angles.sin(), *angles.cos()]
    waves = torch.tensor(waves).view(2, 12)
    expected = encoder.linear(x) + encoder.bends(waves)
    torch.testing.assert_close(encoder({"values": x}).pooled_BD, expected)


def test_a_category_never_seen_is_zero_and_stays_so():
    torch.manual_seed(0)
    field = FieldSpec("colour", "categorical")
    preprocess = Embedding.fit_preprocess(field, ["red", "blue"])
    encoder = Embedding(field, preprocess, width=4)
    index = torch.from_numpy(preprocess(["green", "red"])["index"])
    pooled = encoder({"index": index}).pooled_BD
    assert not pooled[0].any()
    assert pooled[1].any()
    pooled.sum().backward()
    assert not encoder.embedding.weight.grad[0].any()
