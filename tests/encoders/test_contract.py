"""What holds of every encoder."""

import inspect
import math

import pytest
import torch
from cases import CASES, inputs

from automm import registry
from automm.runtime.kinds import load_preprocess, save_preprocess

OURS = sorted({case.encoder for case in CASES.values()})


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_features_are_what_the_spec_says(case, request):
    encoder, preprocess = case.build(request)
    with torch.no_grad():
        features = encoder(inputs(preprocess, [*case.values, None]))
    spec, items = encoder.spec, len(case.values) + 1
    assert features.pooled_BD.shape == (items, spec.width)
    assert features.tokens_BND.shape[::2] == (items, spec.width)
    assert features.tokens_BND.shape[1] <= spec.tokens
    assert case.modality == "text" or features.tokens_BND.shape[1] == spec.tokens
    assert spec.grid is None or math.prod(spec.grid) == features.tokens_BND.shape[1]
    assert features.mask_BN.shape == features.tokens_BND.shape[:2]
    assert features.mask_BN.dtype == torch.bool
    assert features.mask_BN.any(1).all()
    assert torch.isfinite(features.tokens_BND).all()
    assert torch.isfinite(features.pooled_BD).all()
    assert (spec.field, spec.modality) == ("thing", case.modality)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_an_item_does_not_depend_on_its_company(case, request):
    """Neither on the other items of a call nor on how far they make its padding reach."""
    encoder, preprocess = case.build(request)
    with torch.no_grad():
        together = encoder(inputs(preprocess, case.values))
        alone = encoder(inputs(preprocess, case.values[1:2]))
    torch.testing.assert_close(alone.pooled_BD[0], together.pooled_BD[1], atol=2e-5, rtol=1e-4)
    valid = together.mask_BN[1]
    torch.testing.assert_close(alone.tokens_BND[0], together.tokens_BND[1][valid], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_saved_preprocessing_gives_the_same_arrays(case, request, tmp_path):
    _, preprocess = case.build(request)
    again = load_preprocess(tmp_path, **save_preprocess(preprocess, tmp_path))
    first, second = preprocess(case.values), again(case.values)
    assert again.signature == preprocess.signature
    assert all((first[name] == second[name]).all() for name in preprocess.signature)


@pytest.mark.parametrize("name", OURS)
def test_both_steps_have_the_same_defaults(name):
    component = registry.get("encoder", name)
    fit = inspect.signature(component.factory.fit_preprocess).parameters
    known = component.options
    for option in fit.values():
        if option.kind is inspect.Parameter.KEYWORD_ONLY:
            assert option.default == known[option.name].default, option.name
    assert component.factory.MODALITIES
    component.space.check(component.space.defaults())


def test_every_installed_encoder_is_covered():
    ours = [name for name in registry.names("encoder") if registry.get("encoder", name).origin == "automm"]
    assert ours == OURS
