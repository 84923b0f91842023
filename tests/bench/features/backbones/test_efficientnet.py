import pytest
import torch
from sklearn.datasets import load_sample_image
from torch.nn import functional

from spectral_bench.bench.features.backbones import load_backbone
from spectral_bench.bench.features.backbones.efficientnet_lite0 import build_classifier, package_file
from spectral_bench.common.errors import DataError


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("efficientnet_lite0", None, "cpu")


def test_levels_have_the_stated_shapes(backbone):
    levels = backbone.features(torch.rand(2, 3, 101, 75))
    assert [tuple(level.shape) for level in levels] == [(2, 7, 5, 64), (2, 7, 5, 192), (2, 7, 5, 320)]
    assert all(level.dtype == torch.float32 and not level.requires_grad for level in levels)


def test_levels_are_the_stated_stages_of_the_unfolded_network(backbone):
    image = torch.rand(1, 3, 96, 64, generator=torch.Generator().manual_seed(0))
    network = build_classifier(package_file(), output_stride=16)
    with torch.no_grad():
        x = network.bn1(network.conv_stem((image * 255 - 127) / 128))
        stages = []
        for block in network.blocks:
            x = block(x)
            stages.append(x)
    assert [stage.shape[1] for stage in stages] == [16, 24, 40, 80, 112, 192, 320]
    pooled = [functional.avg_pool2d(stage, stage.shape[-1] // 4) for stage in stages]
    expected = torch.cat(pooled[1:3], 1), torch.cat(pooled[3:5], 1), pooled[6]
    for level, target in zip(backbone.features(image), expected, strict=True):
        torch.testing.assert_close(level, target.permute(0, 2, 3, 1), rtol=1e-4, atol=1e-4)


def test_padding_is_zero_after_normalisation(backbone):
    image = torch.rand(1, 3, 40, 50, generator=torch.Generator().manual_seed(1))
    grey = torch.full((1, 3, 48, 64), 127 / 255)
    grey[:, :, :40, :50] = image
    for level, target in zip(backbone.features(image), backbone.features(grey), strict=True):
        torch.testing.assert_close(level, target, rtol=1e-4, atol=1e-5)
    assert backbone.fill == (127, 127, 127)


def test_images_do_not_depend_on_their_batch(backbone):
    images = torch.rand(3, 3, 48, 48, generator=torch.Generator().manual_seed(2))
    together = backbone.features(images)
    for i in range(3):
        for level, target in zip(backbone.features(images[i : i + 1]), together, strict=True):
            assert torch.equal(level[0], target[i])


def test_the_network_is_frozen_and_in_evaluation_mode(backbone):
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert not any(module.training for module in backbone.modules())


@pytest.mark.parametrize(
    ("name", "classes"),
    # ImageNet: 985 daisy; 698 palace, 442 bell cote, 663 monastery. The second photograph shows a Chinese palace.
    [("flower.jpg", [985]), ("china.jpg", [698, 442, 663])],
)
def test_photographs_are_recognised(name, classes):
    photograph = torch.tensor(load_sample_image(name)).permute(2, 0, 1)[None].float() / 255
    image = functional.interpolate(photograph[..., 106:533], (224, 224), mode="bicubic", antialias=True)
    network = build_classifier(package_file(), output_stride=32)
    with torch.no_grad():
        probabilities = network((image * 255 - 127) / 128).softmax(1)[0]
    assert probabilities.topk(len(classes)).indices.tolist() == classes
    assert probabilities[classes].sum() > 0.2


def test_features_at_stride_16_still_recognise_the_flower(backbone):
    """The dense network, its head applied to the mean of its own last level, agrees with the classifier."""
    photograph = torch.tensor(load_sample_image("flower.jpg")).permute(2, 0, 1)[None].float() / 255
    image = functional.interpolate(photograph[..., 106:533], (224, 224), mode="bicubic", antialias=True)
    network = build_classifier(package_file(), output_stride=16)
    high = backbone.features(image.clamp(0, 1))[-1].permute(0, 3, 1, 2)
    with torch.no_grad():
        head = network.bn2(network.conv_head(high))
        probabilities = network.classifier(network.global_pool(head)).softmax(1)[0]
    assert int(probabilities.argmax()) == 985


def test_random_weights_are_reproducible_and_seeded():
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    state = torch.random.get_rng_state()
    first, again, other = (
        load_backbone("efficientnet_lite0", {"weights": "random", "seed": seed}, "cpu").features(image)[0]
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_another_networks_weights_are_refused(tmp_path):
    file = tmp_path / "weights.pth"
    file.write_bytes(b"no weights at all")
    with pytest.raises(DataError, match=r"weights\.pth: cannot be read as weights"):
        build_classifier(file, output_stride=16)
    torch.save({"layer.weight": torch.zeros(3)}, file)
    with pytest.raises(DataError, match=r"holds 1 tensors; EfficientNet-Lite0 has 296"):
        build_classifier(file, output_stride=16)
    state = torch.load(package_file(), weights_only=True)
    state["_fc.bias"] = torch.zeros(999)
    torch.save(state, file)
    with pytest.raises(DataError, match=r"_fc\.bias \(999,\), expected classifier\.bias \(1000,\)"):
        build_classifier(file, output_stride=16)
