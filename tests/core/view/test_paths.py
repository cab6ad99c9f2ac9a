"""Nothing on the disk can be reached by its path."""

from __future__ import annotations

import pytest

BASE = "/drives/recording"


@pytest.mark.parametrize("way", [
    "/static/../view/app.py", "/static/..%2fapp.py", "/static/%2e%2e/app.py", "/static//etc/hostname",
    "/static/view.css/../../app.py", "/static/view.css%00", "/drives/..%2f..%2fetc", "/drives/%2fetc%2fhostname",
    "/drives/../../etc/hostname", f"{BASE}/pictures/..%2f..%2fcalibration.yaml?at=0.7", "//etc/hostname",
    f"{BASE}/../../metadata.yaml", f"{BASE}/calibration.yaml",
])  # fmt: skip
def test_exception_no_path_leads_out(page, way):
    answer = page.get(way)
    assert answer.status_code in (404, 422), way
    assert "import" not in answer.text and "sensors" not in answer.text
