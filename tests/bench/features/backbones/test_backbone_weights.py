import hashlib
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from spectral_bench.bench.features.backbones import load_backbone, weights_digest
from spectral_bench.bench.features.backbones.efficientnet_lite0 import package_file
from spectral_bench.bench.features.backbones.timm_hub import hub_file
from spectral_bench.common.errors import ConfigError, DataError

# The smallest transformer of timm with weights on the hub.
TINY = "test_vit.r160_in1k"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty hub cache and no network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def put_in_hub(cache: Path, repository: str, state: dict) -> Path:
    """Lay a file of weights into a hub cache in the hub's own layout."""
    folder = cache / ("models--" + repository.replace("/", "--"))
    commit = "0" * 40
    snapshot = folder / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(commit)
    save_file(state, snapshot / "model.safetensors")
    return snapshot / "model.safetensors"


def test_digest_of_the_package_is_that_of_its_file():
    expected = hashlib.sha256(package_file().read_bytes()).hexdigest()[:16]
    assert weights_digest("efficientnet_lite0") == expected == weights_digest("efficientnet_lite0", {})


def test_random_weights_are_known_by_their_seed():
    assert weights_digest("efficientnet_lite0", {"weights": "random", "seed": 7}) == "random-7"
    assert weights_digest("vit_tiny_patch16_224", {"weights": "random"}) == "random-0"


def test_digest_follows_the_file(tmp_path, monkeypatch):
    file = tmp_path / "weights.pth"
    file.write_bytes(b"one")
    monkeypatch.setattr("spectral_bench.bench.features.backbones.efficientnet_lite0.package_file", lambda: file)
    first = weights_digest("efficientnet_lite0")
    file.write_bytes(b"two")
    os.utime(file, ns=(1, 1))
    assert weights_digest("efficientnet_lite0") == hashlib.sha256(b"two").hexdigest()[:16] != first
    file.unlink()
    assert weights_digest("efficientnet_lite0") is None


def test_weights_that_are_not_here_have_no_digest(hub):
    assert hub_file(TINY) is None
    assert weights_digest(TINY) is None


def test_weights_that_cannot_be_fetched_say_how_to_get_them(hub):
    with pytest.raises(DataError, match=r"test_vit\.r160_in1k.*create_model\('test_vit\.r160_in1k', pretrained=True\)"):
        load_backbone(TINY, {}, "cpu")


def test_a_hub_that_fails_is_asked_once_and_not_by_its_own_client(hub, monkeypatch):
    """Whose five further tries, a file each, take minutes."""
    asked = []

    def unreachable(url, **options):
        asked.append(url)
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", unreachable)
    monkeypatch.setattr("timm.create_model", lambda *given, **named: pytest.fail("the client was let loose"))
    with pytest.raises(DataError, match=r"looked for in .*models--timm--test_vit\.r160_in1k\).*HF_HUB_OFFLINE=1"):
        load_backbone(TINY, {}, "cpu")
    assert len(asked) == 1


def test_of_two_names_of_a_file_the_hub_may_lack_the_first(hub, monkeypatch):
    from huggingface_hub.errors import EntryNotFoundError

    asked, built = [], []

    def answer(url, **options):
        asked.append(url.rsplit("/", 1)[1])
        if len(asked) == 1:
            raise EntryNotFoundError("no such file")

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", answer)
    create = __import__("timm").create_model
    monkeypatch.setattr(
        "timm.create_model", lambda name, pretrained, **named: built.append(pretrained) or create(name, **named)
    )
    load_backbone(TINY, {}, "cpu")
    assert asked == ["model.safetensors", "pytorch_model.bin"]
    assert built == [True]


def test_weights_from_the_hubs_cache_are_loaded_and_digested(hub):
    import timm

    torch.manual_seed(5)
    state = timm.create_model("test_vit").state_dict()
    file = put_in_hub(hub, "timm/test_vit.r160_in1k", state)
    assert weights_digest(TINY) == hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    loaded = load_backbone(TINY, {}, "cpu").state_dict()
    for name in ("blocks.0.attn.qkv.weight", "norm.weight", "pos_embed"):
        assert torch.equal(loaded[f"network.{name}"], state[name])


def test_a_language_network_of_the_hub_keeps_its_projection(hub, monkeypatch):
    import timm

    name, repository = "vit_xsmall_patch16_clip_224", "timm/vit_xsmall_patch16_clip_224.tinyclip_yfcc15m"
    torch.manual_seed(5)
    state = timm.create_model(name, num_classes=512).state_dict()
    put_in_hub(hub, repository, state)
    loaded = load_backbone(name, {"facet": "language"}, "cpu").state_dict()
    for part in ("head.weight", "blocks.9.attn.proj.weight"):
        assert torch.equal(loaded[f"network.{part}"], state[part])
    monkeypatch.setattr("spectral_bench.bench.features.backbones.timm_vit.joint_width", lambda architecture: 640)
    with pytest.raises(DataError, match="its projection has 512 channels, expected the 640 shared with texts"):
        load_backbone(name, {"facet": "language"}, "cpu")


def test_a_name_without_weights_is_refused_instead_of_left_random():
    with pytest.raises(ConfigError, match=r"no pretrained weights.*weights: random"):
        weights_digest("vit_small_patch16_18x2_224")
    with pytest.raises(ConfigError, match="no pretrained weights"):
        load_backbone("vit_small_patch16_18x2_224", {}, "cpu")


def test_weights_served_from_an_address_are_looked_for_in_torchs_folder(tmp_path, monkeypatch):
    class Config:
        hf_hub_id = None
        hf_hub_filename = None
        url = "https://example.org/some/weights.pth?download=1"

    monkeypatch.setattr("timm.models.get_pretrained_cfg", lambda name: Config)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    assert hub_file(TINY) is None
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "weights.pth").write_bytes(b"weights")
    assert weights_digest(TINY) == hashlib.sha256(b"weights").hexdigest()[:16]
