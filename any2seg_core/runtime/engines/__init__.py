"""What runs a trained model: chosen once, and proved against plain PyTorch on the machine that it runs on."""

from any2seg_core.runtime.engines.choice import choose_engine
from any2seg_core.runtime.engines.engine import EagerEngine, Engine

__all__ = ["EagerEngine", "Engine", "choose_engine"]
