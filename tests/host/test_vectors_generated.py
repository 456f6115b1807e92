"""The vectors in the tree are those that their generators make, and the generators use nothing of ours."""

import ast
from pathlib import Path

from tests.vectors.generate import all_vectors

FOLDER = Path(__file__).resolve().parent.parent / "vectors"


def test_the_files_are_what_the_generators_make():
    wanted = all_vectors()
    assert sorted(path.stem for path in FOLDER.glob("*.json")) == sorted(wanted)
    changed = [name for name, text in wanted.items() if (FOLDER / f"{name}.json").read_text(encoding="utf-8") != text]
    assert not changed, "make them anew: python -m tests.vectors.generate"


def test_generators_import_nothing_of_ours():
    """Those of the formats; the meters' vectors say what profiles say, and may read them."""
    for path in sorted(set((FOLDER / "generate").glob("*.py")) - {FOLDER / "generate" / "meter_vectors.py"}):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            for name in names:
                assert name.split(".")[0] not in ("parkgate", "host_tools", "firmware", "tests"), path.name
