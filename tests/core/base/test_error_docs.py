import importlib.util
from pathlib import Path

from any2seg_core.base.error_codes import CODES

ROOT = Path(__file__).resolve().parents[3]


def test_value_the_page_of_codes_is_up_to_date():
    spec = importlib.util.spec_from_file_location("make_error_docs", ROOT / "scripts" / "make_error_docs.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    assert made.PAGE.read_text(encoding="utf-8") == made.page(), "run: python scripts/make_error_docs.py"
    assert made.page().count("\n| `") == len(CODES)
