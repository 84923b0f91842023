#!/bin/sh
# Which weights does a CLIP name of timm without a tag stand for?
#
# One expects CLIP's own image tower. In timm 1.0.31 nine of the 26 names vit_*clip* stand for weights that were
# fine-tuned to classify ImageNet-12k and -1k by their labels, the most used ones among them, such as
# vit_base_patch16_clip_224 and vit_large_patch14_clip_224. With num_classes=0, as for dense features, nothing shows it:
# a comparison of unsupervised methods on "CLIP features" then rests on supervised ones. The tag in the name decides:
# vit_base_patch16_clip_quickgelu_224.openai, vit_base_patch16_clip_224.laion2b.
#
# Seen with timm 1.0.31: the nine names below with 1000 classes, 17 others with the width of a joint space.
# Source: timm/models/vision_transformer.py, generate_default_cfgs, where the first tag of a name is its default.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet timm==1.0.31
"$folder/env/bin/python" - <<'PYTHON'
import timm
from timm.models import get_pretrained_cfg, list_models

expected = {
    "vit_base_patch16_clip_224",
    "vit_base_patch16_clip_384",
    "vit_base_patch32_clip_224",
    "vit_base_patch32_clip_384",
    "vit_base_patch32_clip_448",
    "vit_huge_patch14_clip_224",
    "vit_huge_patch14_clip_336",
    "vit_large_patch14_clip_224",
    "vit_large_patch14_clip_336",
}
tuned = {}
for name in list_models("vit_*clip*"):
    config = get_pretrained_cfg(name)
    print(f"{name:42} default tag {config.tag:26} outputs {config.num_classes}")
    if config.num_classes == 1000:
        tuned[name] = config.tag
assert timm.__version__ == "1.0.31", timm.__version__
assert set(tuned) == expected, sorted(tuned)
assert set(tuned.values()) == {"laion2b_ft_in12k_in1k"}, tuned
print(f"{len(tuned)} names without a tag stand for weights that were fine-tuned with ImageNet's labels")
PYTHON
