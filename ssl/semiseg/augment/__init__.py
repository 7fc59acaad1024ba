"""Weak and strong augmentation of image batches together with their masks."""
