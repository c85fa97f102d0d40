"""The name under which published scripts import the adaptor to stable-baselines3."""

from .faces.stable_baselines3_env import StableBaselines3Env

__all__ = ["StableBaselines3Env"]
