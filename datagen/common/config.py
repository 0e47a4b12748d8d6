"""Read YAML into validated, frozen models. Error messages name the field, the value and what to do."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from datagen.common.errors import UserError
from datagen.common.text import plain, shortened

MAX_BYTES = 256 * 1024
MAX_DEPTH = 24
"""Largest YAML file and deepest nesting that are read; normal files are far below both."""
MAX_PROBLEMS = 8
"""Most mistakes that one message lists."""


class FrozenConfig(BaseModel):
    """Base of every configuration model: immutable, no unknown keys, defaults checked too."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


Model = TypeVar("Model", bound=FrozenConfig)


class _Loader(yaml.SafeLoader):
    """Reads plain types only and nesting up to `MAX_DEPTH`. No aliases: they can describe endless or huge values."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        mark = self.peek_event().start_mark
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(
                None, None, "aliases (*name) are not allowed; write the value itself", mark
            )
        if self.depth >= MAX_DEPTH:
            raise yaml.composer.ComposerError(None, None, f"nested deeper than {MAX_DEPTH} levels", mark)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def read_yaml(path: Path) -> dict[str, Any]:
    """Mapping of a YAML file; only plain types (tags such as `!!python/...` are errors), no aliases.

    Raises:
        UserError: the file is missing, too large, is not UTF-8 YAML, or is not a mapping.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", code=2) from error
    if len(data) > MAX_BYTES:
        raise UserError(
            f"{path} is larger than {MAX_BYTES} bytes, too large for a recipe or manifest", code=2
        )
    try:
        found = load_yaml(data.decode("utf-8"))
    except (UnicodeDecodeError, ValueError) as error:
        raise UserError(f"{path} is not plain YAML: {error}", code=2) from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise UserError(f"{path} must hold a mapping of keys to values, found {type(found).__name__}", code=2)
    return found


def load_yaml(text: str) -> Any:
    """Value of a YAML text; plain types only.

    Raises:
        ValueError: it is not YAML, has aliases or has too many levels; the message is one line and says where.
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader that reads less
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else ""
        raise ValueError(f"{error.problem or error.context}{where}") from error
    except (yaml.YAMLError, RecursionError, OverflowError, AttributeError) as error:
        raise ValueError(str(error)) from error


def parse(model: type[Model], data: dict[str, Any], where: str) -> Model:
    """Validate `data`; all problems are reported in one line.

    Raises:
        UserError: unknown keys (with the nearest known one) or values out of range.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        found = [_describe(model, item) for item in error.errors(include_url=False, include_context=False)]
        more = f"; and {len(found) - MAX_PROBLEMS} more" if len(found) > MAX_PROBLEMS else ""
        raise UserError(f"{where}: {'; '.join(found[:MAX_PROBLEMS])}{more}", code=2) from error


def merge(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    """Deep merge: `base` with the values of `top` on top, key by key at every level."""
    merged = dict(base)
    for key, value in top.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = merge(base[key], value) if both else value
    return merged


def override(data: dict[str, Any], assignments: list[str]) -> dict[str, Any]:
    """Copy of `data` with `a.b=value` assignments applied; values are read as YAML."""
    result: dict[str, Any] = _copy(data)
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        names = key.strip().split(".")
        if not equals or not all(names):
            raise UserError(f"--set {shortened(assignment)}: write it as key.subkey=value", code=2)
        if len(names) > MAX_DEPTH or len(text) > MAX_BYTES:
            raise UserError(f"--set {shortened(assignment)} is too deep or too long for a recipe", code=2)
        try:
            value = load_yaml(text)
        except ValueError as error:
            raise UserError(f"--set {key}: {shortened(text)} is not a YAML value: {error}", code=2) from error
        node = result
        for depth, name in enumerate(names[:-1]):
            node = node.setdefault(name, {})
            if not isinstance(node, dict):
                raise UserError(f"--set {key}: {'.'.join(names[: depth + 1])} is not a group of keys", code=2)
        node[names[-1]] = value
    return result


def _copy(data: Any) -> Any:
    return {key: _copy(value) for key, value in data.items()} if isinstance(data, dict) else data


def _describe(model: type[BaseModel], problem: Any) -> str:
    location = [plain(str(part)[:80], keep="") for part in problem["loc"]]
    name = ".".join(location) or "the whole"
    if problem["type"] == "extra_forbidden":
        known = _keys_at(model, location[:-1])
        near = difflib.get_close_matches(location[-1], known, n=1, cutoff=0.4)
        advice = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
        return f"unknown key {name!r}; {advice}"
    if problem["type"] == "missing":
        return f"{name} is missing; add it"
    return f"{name} = {shortened(problem['input'])}: {problem['msg'].removeprefix('Value error, ')}"


def _keys_at(model: type[BaseModel], location: list[str]) -> list[str]:
    for name in location:
        field = model.model_fields.get(name)
        if field is None:
            continue  # an index of a list
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        models = [item for item in candidates if isinstance(item, type) and issubclass(item, BaseModel)]
        if models:
            model = models[0]
    return sorted(model.model_fields)
