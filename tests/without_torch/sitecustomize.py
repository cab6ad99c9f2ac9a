"""First on PYTHONPATH: a Python in which PyTorch and what builds on it are not installed, nor the export's packages."""

import sys

_ABSENT = ("torch", "torchvision", "torchmetrics", "timm", "transformers", "onnx", "onnxscript", "open3d")


class _Absent:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] in _ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, _Absent)
