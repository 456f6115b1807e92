"""Write all vectors anew: `python -m tests.vectors.generate`, from the repository's root."""

from pathlib import Path

from . import all_vectors

FOLDER = Path(__file__).resolve().parent.parent


def main():
    wanted = {name + ".json": text for name, text in all_vectors().items()}
    for path in FOLDER.glob("*.json"):
        if path.name not in wanted:
            path.unlink()
    for name, content in wanted.items():
        (FOLDER / name).write_text(content, encoding="utf-8")
    print(f"{len(wanted)} vectors in {FOLDER}")


if __name__ == "__main__":
    main()
