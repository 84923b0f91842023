"""A benchmark and ablation harness for spectral methods in unsupervised semantic segmentation."""
