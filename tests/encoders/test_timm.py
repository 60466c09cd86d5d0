import numpy as np
import pytest
import timm
import torch
from cases import build, inputs
from safetensors.torch import load_file
from weights import EFFNET_ARCHITECTURE

from automm.errors import ConfigError, UnknownComponent

NOISE = list(np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8))


def test_real_weights_arrive_tensor_by_tensor(effnet, effnet_source):
    encoder, _ = build("timm", "image", weights=f"local-dir:{effnet}", image_size=64)
    source = [tensor for key, tensor in effnet_source.items() if not key.endswith("num_batches_tracked")]
    ours = [t for key, t in encoder.model.state_dict().items() if not key.endswith("num_batches_tracked")]
    assert len(ours) == len(source) - 2  # all but the classifier's weight and bias
    assert all(torch.equal(a, b) for a, b in zip(ours, source, strict=False))


def test_features_are_those_of_timm_on_normalised_pixels(effnet):
    encoder, preprocess = build("timm", "image", weights=f"local-dir:{effnet}", image_size=64)
    whole = timm.create_model(f"local-dir:{effnet}", pretrained=True).eval()
    x = inputs(preprocess, NOISE)
    config = whole.pretrained_cfg
    mean, std = (torch.tensor(config[key])[:, None, None] for key in ("mean", "std"))
    with torch.no_grad():
        maps = whole.forward_features((x["pixels"] / 255 - mean) / std)
        features = encoder(x)
        logits = whole.classifier(features.pooled_BD)
        torch.testing.assert_close(logits, whole.forward_head(maps), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(features.tokens_BND, maps.flatten(2).mT, atol=1e-4, rtol=1e-4)
    assert encoder.spec.width == 1280
    assert encoder.spec.tokens == 4


def test_one_file_and_a_folder_are_the_same_weights(effnet):
    folder, preprocess = build("timm", "image", weights=f"local-dir:{effnet}", image_size=64)
    file, _ = build(
        "timm", "image", model=EFFNET_ARCHITECTURE, weights=f"file:{effnet}/model.safetensors", image_size=64
    )
    x = inputs(preprocess, NOISE)
    with torch.no_grad():
        assert torch.equal(folder(x).pooled_BD, file(x).pooled_BD)


def test_size_and_interpolation_are_the_models_own(effnet):
    _, preprocess = build("timm", "image", weights=f"local-dir:{effnet}")
    assert (preprocess.size, preprocess.resample, preprocess.fit) == ((224, 224), "bicubic", "squash")
    _, cropping = build("timm", "image", model="test_vit", weights=None, crop=True)
    assert (cropping.size, cropping.fit) == ((160, 160), "center_crop")
    assert cropping.crop == timm.get_pretrained_cfg("test_vit").crop_pct


@pytest.mark.parametrize(
    ("model", "layout"), [("test_vit", "NLC"), ("test_efficientnet", "NCHW"), ("test_mambaout", "NHWC")]
)
def test_tokens_lie_where_the_image_says_in_every_layout(model, layout):
    encoder, preprocess = build("timm", "image", model=model, weights=None, image_size=64)
    assert encoder.layout == layout
    with torch.no_grad():
        maps = encoder.model.forward_features((inputs(preprocess, NOISE)["pixels"] - encoder.mean) / encoder.deviation)
        tokens = encoder(inputs(preprocess, NOISE)).tokens_BND
    second = {"NLC": lambda: maps[:, 1], "NCHW": lambda: maps[:, :, 0, 1], "NHWC": lambda: maps[:, 0, 1]}[layout]()
    torch.testing.assert_close(tokens[:, 1, : second.shape[1]], second)


def test_a_wider_head_pads_the_tokens():
    encoder, preprocess = build("timm", "image", model="mobilenetv3_small_050", weights=None, image_size=32)
    with torch.no_grad():
        features = encoder(inputs(preprocess, NOISE))
    assert encoder.spec.width == 1024
    assert features.tokens_BND.shape == (3, 1, 1024)
    assert not features.tokens_BND[:, :, 288:].any()
    assert features.pooled_BD.abs().amax(0).gt(0).any()


def test_layers_are_the_head_and_mean_and_maximum_of_the_last_three_maps(effnet):
    options = {"weights": f"local-dir:{effnet}", "image_size": 64}
    encoder, preprocess = build("timm", "image", pooling="layers", **options)
    plain, _ = build("timm", "image", **options)
    x = inputs(preprocess, NOISE)
    with torch.no_grad():
        features, head = encoder(x), plain(x).pooled_BD
        maps = encoder.model.forward_intermediates((x["pixels"] - encoder.mean) / encoder.deviation)[1][-3:]
    pieces = [head] + [pool(each) for each in maps for pool in (lambda m: m.mean((2, 3)), lambda m: m.amax((2, 3)))]
    wanted = [(piece - piece.mean(1, keepdim=True)) / piece.std(1, keepdim=True, correction=0) for piece in pieces]
    wanted = torch.cat([piece / piece.shape[1] ** 0.5 for piece in wanted], dim=1)
    torch.testing.assert_close(features.pooled_BD, wanted, atol=1e-4, rtol=1e-3)
    assert encoder.spec.width == 1280 + 2 * (40 + 112 + 320)
    torch.testing.assert_close(features.tokens_BND[..., :1280], plain(x).tokens_BND, atol=1e-4, rtol=1e-4)


def test_names_and_weights_that_do_not_fit(effnet, tmp_path):
    with pytest.raises(ConfigError, match="pooling=last is not allowed: one of head, layers"):
        build("timm", "image", model="test_vit", weights=None, pooling="last")
    with pytest.raises(UnknownComponent, match="Did you mean 'resnet18'"):
        build("timm", "image", model="resnet_18", weights=None)
    with pytest.raises(ConfigError, match=f"is a {EFFNET_ARCHITECTURE}, and model=resnet18"):
        build("timm", "image", model="resnet18", weights=f"local-dir:{effnet}")
    with pytest.raises(ConfigError, match=r"config\.json"):
        build("timm", "image", weights=f"local-dir:{tmp_path}")
    with pytest.raises(ConfigError, match=r"Missing key\(s\) in state_dict"):
        build("timm", "image", model="test_vit", weights=f"file:{effnet}/model.safetensors", image_size=32)


def test_weights_without_the_classifier_or_with_another_will_do(effnet, tmp_path):
    state = load_file(effnet / "model.safetensors")
    wanted, preprocess = build("timm", "image", weights=f"local-dir:{effnet}", image_size=32)
    body = {name: tensor for name, tensor in state.items() if not name.startswith("classifier.")}
    other = {**body, "classifier.weight": torch.zeros(7, 1280), "classifier.bias": torch.zeros(7)}
    for name, tensors in (("body", body), ("other", other)):
        torch.save(tensors, tmp_path / f"{name}.pth")
        found, _ = build("timm", "image", weights=f"file:{tmp_path}/{name}.pth", image_size=32)
        with torch.no_grad():
            x = inputs(preprocess, NOISE)
            assert torch.equal(found(x).pooled_BD, wanted(x).pooled_BD)
