"""Hyper-parameter and ablation sweeps for semi-supervised semantic segmentation on Ray."""

__version__ = "0.1.0"
