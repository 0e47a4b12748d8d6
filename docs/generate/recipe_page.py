"""Write the reference page of the recipe, `docs/recipe.md`, from its models: `python -m docs.generate.recipe_page`."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml
from pydantic import BaseModel

from datagen.recipe import Recipe

PAGE = Path(__file__).resolve().parents[1] / "recipe.md"

INTRODUCTION = """\
# The recipe

*Generated from `datagen/recipe.py` by `python -m docs.generate.recipe_page`; edit the sources, not this page.*

All settings of a run. A recipe file holds only values that differ from the defaults; `--set` changes single values:

```
megactor-datagen run --input videos/ --output out/set --recipe mine.yaml --set gates.max_yaw=35
```

```yaml
# mine.yaml
seed: 3
curate: {max_frames: 250, faces: all}
stylise: {backends: [arbitrary]}
```

The recipe hash is in every row; it also covers models, donors and styles. An output belongs to one recipe: a run with
a changed recipe is refused with an error that says what changed. An unknown key is an error that suggests a known key.
"""


def page() -> str:
    """The whole page as Markdown."""
    sections = [INTRODUCTION]
    for name, field in Recipe.model_fields.items():
        model = field.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            rows = [
                f"| `{name}.{key}` | {_value(item.get_default(call_default_factory=True))} | {item.description or ''} |"
                for key, item in model.model_fields.items()
            ]
            doc = (model.__doc__ or "").strip().split("\n")[0]
            table = "\n".join(rows)
            sections.append(f"## {name}\n\n{doc}\n\n| key | default | meaning |\n|---|---|---|\n{table}\n")
    return "\n".join(sections)


def _value(value: object) -> str:
    plain = list(value) if isinstance(value, tuple) else value
    if plain is None:
        return "empty"
    text = yaml.safe_dump(plain, default_flow_style=True).strip().removesuffix("...").strip()
    return f"`{text}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"wrote {PAGE}\n")
