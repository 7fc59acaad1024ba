"""Sweeps: ablation tables, their plan, and the one module that runs it on Ray Tune."""
